"""Who is asking: credentials to a `Subscriber` or a `Publisher`. Nothing here knows HTTP; `web/auth.py` reads requests.

Rule: a credential is believed whole or not at all. Which algorithm verifies a token is said by the kind of the
gateway's own key, never by the token.
"""
