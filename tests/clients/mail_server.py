"""A real mail server for the tests.

Prints its port on the first line, then one line of JSON for each message that it takes. It knows one account, otp with
the password swordfish, and refuses recipients whose name begins with "nobody".
"""

import argparse
import asyncio
import email
import email.policy
import json
import logging
import ssl
import warnings

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        taken = {
            "envelope": [envelope.mail_from, envelope.rcpt_tos],
            "headers": {name.lower(): str(value) for name, value in message.items()},
            "type": message.get_content_type(),
            "text": parts.get("text/plain"),
            "html": parts.get("text/html"),
            "authenticated": bool(session.authenticated),
            "encrypted": server.transport.get_extra_info("ssl_object") is not None,
        }
        print(json.dumps(taken), flush=True)
        return "250 2.0.0 Taken"


def authenticate(server, session, envelope, mechanism, data):
    fits = data == LoginPassword(b"otp", b"swordfish")
    return AuthResult(success=fits, handled=False)


def certificate(authority_file):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(authority_file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


async def serve(arguments):
    context = certificate(arguments.authority) if arguments.tls != "plain" else None
    starttls = context if arguments.tls == "starttls" else None
    login = {"auth_required": True, "authenticator": authenticate} if arguments.login else {}

    def connection():
        return SMTP(
            Handler(),
            enable_SMTPUTF8=True,
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_require_tls=starttls is not None,
            **login,
        )

    implicit = context if arguments.tls == "implicit" else None
    loop = asyncio.get_running_loop()
    # The tests hold the port too, so that nobody takes it while no server runs.
    server = await loop.create_server(connection, "127.0.0.1", arguments.port, ssl=implicit, reuse_port=True)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main():
    # Dialogues that break off, and passwords without TLS, are what some tests want.
    logging.disable()
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", choices=["plain", "starttls", "implicit"], default="plain")
    parser.add_argument("--authority", help="where the certificate of its authority is written")
    parser.add_argument("--login", action="store_true", help="take nothing without it")
    asyncio.run(serve(parser.parse_args()))


main()
