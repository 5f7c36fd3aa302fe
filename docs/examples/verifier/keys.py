"""Keys and signatures: what needs a module that Python does not come with."""
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
except ImportError:
    sys.exit("NOT VERIFIED: the module cryptography is missing: pip install cryptography")

from .trees import sha256
from .wire import NotVerified, check


def key_id(key):
    """RFC 9679 thumbprint of a P-256 key."""
    return sha256(bytes.fromhex("a401022001215820"), key[1:33], bytes.fromhex("225820"), key[33:])


def public_key(point):
    check("a vote key is not an uncompressed point", len(point) == 65 and point[0] == 4)
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise NotVerified("a vote key is not on the curve") from None


def signed(key, signature, message):
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        public_key(key).verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


def signed_by_ed25519(key, signature, message):
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except InvalidSignature:
        return False
