"""What users of mitmproxy add: streamed answers are passed on as they come (mitmproxy's own example `http-stream-simple`).
And one word for the benchmark when the first connection has come in, which shows that the kernel redirects."""

import sys

from mitmproxy import ctx


class PassStreamsOn:
    def responseheaders(self, flow):
        if flow.response.headers.get("content-type", "").startswith("text/event-stream"):
            flow.response.stream = True


class TellOfTheFirst:
    def client_connected(self, client):
        print("redirected", file=sys.stderr, flush=True)
        ctx.master.addons.remove(self)


addons = [PassStreamsOn(), TellOfTheFirst()]
