"""moto's server, with KMS's MessageType=DIGEST meaning what it means at AWS.

moto hashes the message whatever its type, so a signature over a digest verifies nowhere.
"""

import sys
import threading

from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey
from moto.server import main

request = threading.local()


def noting_message_type(action):
    def noted(self):
        request.is_digest = self._get_param("MessageType") == "DIGEST"
        return action(self)

    return noted


def hash_unless_hashed(algorithm):
    return Prehashed(algorithm) if request.is_digest else algorithm


KmsResponse.sign = noting_message_type(KmsResponse.sign)
KmsResponse.verify = noting_message_type(KmsResponse.verify)

rsa = RSAPrivateKey._RSAPrivateKey__padding_and_hash_algorithm
ecdsa = ECDSAPrivateKey._ECDSAPrivateKey__hash_algorithm


def rsa_algorithms(self, name):
    padding, algorithm = rsa(self, name)
    return padding, hash_unless_hashed(algorithm)


def ecdsa_algorithm(self, name):
    return hash_unless_hashed(ecdsa(self, name))


RSAPrivateKey._RSAPrivateKey__padding_and_hash_algorithm = rsa_algorithms
ECDSAPrivateKey._ECDSAPrivateKey__hash_algorithm = ecdsa_algorithm

sys.exit(main())
