"""One provider by OpenID Connect; where it is, a test knows."""

import os

from convexpy import oidc

providers = [oidc(domain=os.environ["TEST_ISSUER"], application_id="app")]
