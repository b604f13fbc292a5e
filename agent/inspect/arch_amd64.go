package inspect

const builtFor = "x86_64"
