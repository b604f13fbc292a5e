package bmc

// Diagnosis codes that a driver puts into Error.Code where the class alone would
// not tell a person what to do. The texts belong to pkg/explain.
const (
	CodeAddressSyntax  = "bmc-address-syntax"
	CodeNameUnresolved = "bmc-name-unresolved"
	CodeUnreachable    = "bmc-unreachable"
	CodeRefused        = "bmc-refused"
	CodeTLSUntrusted   = "bmc-tls-untrusted"
	CodeTLSLegacy      = "bmc-tls-legacy"
	CodeAuth           = "bmc-auth"
	CodePasswordChange = "bmc-password-change"
	CodeSessionsFull   = "bmc-sessions-full"
	CodeLicence        = "bmc-licence"
	CodeSlow           = "bmc-slow"
	CodeManySystems    = "bmc-many-systems"
	CodeIPMICipher     = "bmc-ipmi-cipher"
	CodeOptions        = "bmc-options"
)
