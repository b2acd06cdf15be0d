"""Ends with 0 where the relay of this container answers; asking to log in is an answer."""  # noqa: INP001 - a script of the image

import os
import sys
from http import HTTPStatus
from http.client import HTTPConnection

connection = HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=4)
connection.request("GET", "/v2/")
sys.exit(connection.getresponse().status not in {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED})
