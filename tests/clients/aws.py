"""boto3 for the tests: reads one call a line, answers one line. {"service", "method", "args"}; of the arguments
{"$file": PATH} stands for a file's bytes, {"$text": TEXT} for a text's, {"$zip": {NAME: TEXT}} for a zip of such programs."""

import io
import json
import sys
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


def main():
    endpoint = sys.argv[1]
    config = Config(retries={"total_max_attempts": 1}, read_timeout=300, s3={"addressing_style": "path"})
    clients = {}
    for line in sys.stdin:
        call = json.loads(line)
        service = call["service"]
        if service not in clients:
            clients[service] = boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", config=config)
        try:
            answer = {"ok": getattr(clients[service], call["method"])(**given(call["args"]))}
        except ClientError as error:
            answer = {"error": str(error), "code": error.response["Error"]["Code"]}
        except BotoCoreError as error:
            answer = {"error": str(error), "code": type(error).__name__}
        print(json.dumps(answer, default=plain), flush=True)


def given(value):
    if isinstance(value, list):
        return [given(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$file" in value:
        with open(value["$file"], "rb") as file:
            return file.read()
    if "$zip" in value:
        return zipped(value["$zip"])
    if "$text" in value:
        return value["$text"].encode()
    return {name: given(item) for name, item in value.items()}


def zipped(files):
    """A zip of programs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, text)
    return buffer.getvalue()


def plain(value):
    """Streams and bytes as text, all else (times) as it prints."""
    if hasattr(value, "read"):
        value = value.read()
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


main()
