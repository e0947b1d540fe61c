"""The grammar of HTTP that several modules need, as regular expressions and sets."""

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2
TOKEN_BYTES = TOKEN.encode()

# A request with one of these in its trailer section is refused: for a reader that merges them into the head they would
# change where the message ends or goes, or whom it is from. All other trailers are discarded (RFC 9110 section 6.5.1,
# RFC 9112 section 7.1.2).
REFUSED_TRAILERS = frozenset(
    b"connection content-length forwarded host keep-alive proxy-connection te trailer transfer-encoding upgrade"
    b" x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip".split()
)
# A response must not have these either: request modifiers, authentication, and what describes the content, are decided
# before trailers come (RFC 9110 section 6.5.1).
FORBIDDEN_TRAILERS = REFUSED_TRAILERS.union(
    b"authorization cache-control content-encoding content-range content-type cookie expect if-match if-modified-since"
    b" if-none-match if-range if-unmodified-since max-forwards pragma proxy-authorization range set-cookie".split()
)
