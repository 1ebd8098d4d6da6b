"""A mail server on a port of its own: prints the port, then each mail as a line of JSON."""

import json
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

certificate, key, mode = sys.argv[1:]


class Keep:
    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "user": session.auth_data,
            "data": envelope.content.decode("utf-8", "replace"),
        }
        print(json.dumps(mail), flush=True)
        return "250 OK"


def log_in(server, session, envelope, mechanism, data):
    good = data.login == b"ems" and data.password == b"correct horse"
    return AuthResult(success=good, auth_data="ems" if good else None)


options = {"authenticator": log_in, "auth_require_tls": True}
if mode == "starttls":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    options |= {"tls_context": context, "require_starttls": True, "auth_required": True}


class OnAnyPort(Controller):
    # The one in the package tries the port that it was given, which is 0 here.
    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


controller = OnAnyPort(Keep(), hostname="127.0.0.1", port=0, **options)
controller.start()
print(controller.port, flush=True)
threading.Event().wait()
