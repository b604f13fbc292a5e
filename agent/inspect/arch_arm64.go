package inspect

const builtFor = "aarch64"
