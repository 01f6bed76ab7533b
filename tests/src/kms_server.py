"""moto's server, with two things as they are at AWS.

moto hashes the message whatever its MessageType, so a signature over a digest verifies nowhere. And
where GetPublicKey says which key it is about, AWS gives the key's ARN and moto its id.
"""

import json
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


def naming_arn(action):
    def named(self):
        answer = json.loads(action(self))
        answer["KeyId"] = self.kms_backend.keys[answer["KeyId"]].arn
        return json.dumps(answer)

    return named


KmsResponse.get_public_key = naming_arn(KmsResponse.get_public_key)
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
