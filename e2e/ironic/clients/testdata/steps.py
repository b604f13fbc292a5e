"""Steps of a script against the door at URL, told to the proxy there."""
import json
import sys
import traceback
import urllib.parse
import urllib.request

import openstack

url = sys.argv[1]


def connect():
    return openstack.connection.Connection(
        auth_type="none", endpoint=url, baremetal_endpoint_override=url,
        region_name="lab", app_name="ingot-e2e").baremetal


def tell(what, **fields):
    request = urllib.request.Request(url + "/_tap/" + what + "?" + urllib.parse.urlencode(fields), method="POST")
    urllib.request.urlopen(request).read()


def step(name, do, want=None, refused=()):
    """Does something; what it gives has to satisfy want, or it has to raise one of refused."""
    tell("begin", step=name)
    why, out = "", None
    try:
        out = do()
        if refused:
            why = "it has to be refused, and was not"
        elif want is not None and not want(out):
            why = "not as expected: %.300r" % (out,)
    except refused or ():
        pass
    except Exception as e:
        why = "%s: %s" % (type(e).__name__, e)
        if not isinstance(e, openstack.exceptions.SDKException):
            why += traceback.format_exc()[-300:]
    if why:
        tell("failed", step=name, why=why[-500:])
    print(json.dumps({"step": name, "ok": not why, "why": why[-500:]}), flush=True)
    return out
