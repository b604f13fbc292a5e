package admission

import (
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkURL wants an absolute URL of one of the schemes, which names a server. ftp
// and gopher are taken where Metal3 takes them, and recommended to nobody.
func checkURL(raw string, path *field.Path, schemes ...string) field.ErrorList {
	if raw == "" {
		return field.ErrorList{field.Required(path, "write a URL like "+schemes[0]+"://server/path")}
	}
	u, err := url.Parse(raw)
	var detail string
	switch {
	case err != nil: // its text shows the URL
		detail = "is no URL: write one like " + schemes[0] + "://server/path"
	case !slices.Contains(schemes, u.Scheme):
		better := slices.DeleteFunc(slices.Clone(schemes), func(s string) bool { return s == "ftp" || s == "gopher" })
		last := len(better) - 1
		detail = "the scheme must be " + strings.Join(better[:last], ", ") + " or " + better[last]
	case u.Hostname() == "":
		detail = "names no server: write one like " + schemes[0] + "://server/path"
	default:
		return nil
	}
	return field.ErrorList{field.Invalid(path, shown(raw), detail)}
}

// shown is a URL without what may be secret in it: what stands before an @, and
// the query, in which signed URLs carry their right. It does not rely on the URL
// being well-formed.
func shown(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		scheme, rest = "", raw
	} else {
		scheme += "://"
	}
	user := strings.LastIndexByte(rest, '@')
	if strings.EqualFold(scheme, "oci://") {
		// The @ of a digest stands in the path.
		authority, _, _ := strings.Cut(rest, "/")
		user = strings.LastIndexByte(authority, '@')
	}
	if user >= 0 {
		rest = "(hidden)" + rest[user:]
	}
	if before, _, ok := strings.Cut(rest, "?"); ok {
		rest = before + "?(hidden)"
	}
	if strings.Contains(scheme, "@") {
		scheme = "(hidden)"
	}
	return cut(scheme + rest)
}
