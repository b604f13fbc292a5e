"""Runs a script of openstack commands in one process, as the command itself does.

usage: cli.py URL SCRIPT

A line is a command without "openstack baremetal". "! " before it: it has to fail.
"save NAME FIELD" keeps a field of the last answer as $NAME, "wait NODE FIELD VALUE"
asks until it is so. What happens is told to the proxy at URL, and printed as JSON.
"""
import contextlib
import io
import json
import logging
import shlex
import string
import sys
import time
import urllib.parse
import urllib.request

from openstackclient import shell

url, path = sys.argv[1:]
variables = {}
last = ""


def tell(what, **fields):
    request = urllib.request.Request(url + "/_tap/" + what + "?" + urllib.parse.urlencode(fields), method="POST")
    urllib.request.urlopen(request).read()


def run(words):
    out, err = io.StringIO(), io.StringIO()
    logging.getLogger().handlers.clear()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = shell.OpenStackShell().run(
                ["--os-auth-type", "none", "--os-endpoint", url, "baremetal"] + words)
        except SystemExit as e:
            code = e.code or 0
    return code, out.getvalue(), err.getvalue()


def wait(node, field, value):
    until = time.monotonic() + 20
    while True:
        code, out, err = run(["node", "show", node, "--fields", field, "-f", "json"])
        got = json.loads(out)[field] if code == 0 else err
        if str(got) == value:
            return 0, out, err
        if code != 0 or time.monotonic() > until:
            return 1, out, "%s is %s and not %s" % (field, got, value)


for line in open(path):
    line = line.strip()
    if not line or line.startswith("#"):
        continue
    if line.startswith("save "):
        _, name, field = line.split()
        try:
            variables[name] = json.loads(last)[field]
        except (ValueError, KeyError, TypeError):
            variables[name] = "missing-" + name
        continue
    refused = line.startswith("! ")
    text = string.Template(line[2:] if refused else line).safe_substitute(variables)
    words = shlex.split(text)
    tell("begin", step=line)
    if words[0] == "wait":
        code, last, err = wait(words[1], words[2], " ".join(words[3:]))
    else:
        code, last, err = run(words)
    ok = (code != 0) == refused
    if not ok:
        tell("failed", step=line, why=err.strip()[-300:] or "it has to be refused, and was not")
    print(json.dumps({"step": line, "ok": ok, "why": "" if ok else err.strip()[-300:]}), flush=True)
