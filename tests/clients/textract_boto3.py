"""boto3 talks to the local Textract and the local S3. Exits with 1, and says where, when something is not as at AWS."""

import argparse
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", help="a receipt of SYL ROASTED DELIGHTS")
    parser.add_argument("--textract", required=True, metavar="URL")
    parser.add_argument("--s3", required=True, metavar="URL")
    options = parser.parse_args()
    with open(options.image, "rb") as file:
        image = file.read()

    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    textract = boto3.client("textract", endpoint_url=options.textract, region_name="us-east-1", config=config)
    s3 = boto3.client("s3", endpoint_url=options.s3, region_name="us-east-1", config=config)

    check_s3(s3, image)
    check_text(textract, image)
    check_expense(textract, image)
    check_refusals(textract)
    print("boto3", boto3.__version__, "is content")


def check_s3(s3, image):
    put = s3.put_object(
        Bucket="receipts", Key="a b/receipt.jpg", Body=image, ContentType="image/jpeg", Metadata={"user-id": "7"}
    )
    get = s3.get_object(Bucket="receipts", Key="a b/receipt.jpg")
    assert get["Body"].read() == image
    assert get["ContentType"] == "image/jpeg", get
    assert get["Metadata"] == {"user-id": "7"}, get
    assert get["ETag"] == put["ETag"], (get, put)
    head = s3.head_object(Bucket="receipts", Key="a b/receipt.jpg")
    assert head["ContentLength"] == len(image) and head["Metadata"] == {"user-id": "7"}, head
    listed = s3.list_objects_v2(Bucket="receipts", Prefix="a b/")
    assert [entry["Key"] for entry in listed["Contents"]] == ["a b/receipt.jpg"], listed

    refused(s3.exceptions.NoSuchKey, s3.get_object, Bucket="receipts", Key="none")
    refused(s3.exceptions.NoSuchBucket, s3.list_objects_v2, Bucket="no-such-bucket")
    refused(s3.exceptions.NoSuchBucket, s3.get_object, Bucket="no-such-bucket", Key="none")
    error = refused(ClientError, s3.get_object, Bucket="receipts", Key="a b/receipt.jpg", IfMatch='"other"')
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 412, error.response

    url = s3.generate_presigned_url("get_object", Params={"Bucket": "receipts", "Key": "a b/receipt.jpg"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == image

    # In parts, as upload_file sends what is large.
    upload = s3.create_multipart_upload(Bucket="receipts", Key="parts.jpg", ContentType="image/jpeg")
    parts = []
    for number, body in enumerate([b"a" * 5 * 1024 * 1024, b"end"], start=1):
        part = s3.upload_part(
            Bucket="receipts", Key="parts.jpg", UploadId=upload["UploadId"], PartNumber=number, Body=body
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(
        Bucket="receipts", Key="parts.jpg", UploadId=upload["UploadId"], MultipartUpload={"Parts": parts}
    )
    get = s3.get_object(Bucket="receipts", Key="parts.jpg")
    assert get["ContentType"] == "image/jpeg" and get["Body"].read().endswith(b"aend"), get
    s3.delete_object(Bucket="receipts", Key="parts.jpg")
    refused(s3.exceptions.NoSuchKey, s3.get_object, Bucket="receipts", Key="parts.jpg")


def check_text(textract, image):
    for document in ({"Bytes": image}, {"S3Object": {"Bucket": "receipts", "Name": "a b/receipt.jpg"}}):
        answer = textract.detect_document_text(Document=document)
        assert answer["ResponseMetadata"]["RequestId"], answer
        assert answer["DocumentMetadata"] == {"Pages": 1}, answer
        check_blocks(answer["Blocks"])


def check_expense(textract, image):
    answer = textract.analyze_expense(Document={"Bytes": image})
    (expense,) = answer["ExpenseDocuments"]
    assert expense["ExpenseIndex"] == 1 and expense["SummaryFields"] == [], expense
    check_blocks(expense["Blocks"])


def check_blocks(blocks):
    by_id = {block["Id"]: block for block in blocks}
    assert len(by_id) == len(blocks)
    page = blocks[0]
    assert page["BlockType"] == "PAGE"
    lines = children(page, by_id)
    assert "SYL ROASTED DELIGHTS SDN. BHD." in [line["Text"] for line in lines]
    for line in lines:
        words = children(line, by_id)
        assert line["BlockType"] == "LINE" and {word["BlockType"] for word in words} == {"WORD"}
        assert line["Text"] == " ".join(word["Text"] for word in words)
        box = line["Geometry"]["BoundingBox"]
        assert 0 <= box["Left"] <= 1 and 0 <= box["Top"] <= 1 and 0 <= line["Confidence"] <= 100, line


def children(block, by_id):
    return [by_id[id] for relation in block["Relationships"] if relation["Type"] == "CHILD" for id in relation["Ids"]]


def check_refusals(textract):
    detect, errors = textract.detect_document_text, textract.exceptions
    refused(errors.UnsupportedDocumentException, detect, Document={"Bytes": b"a text file named .jpg"})
    refused(errors.BadDocumentException, detect, Document={"Bytes": b"\xff\xd8\xff\xe0 no picture"})
    refused(errors.DocumentTooLargeException, detect, Document={"Bytes": b"\xff\xd8\xff" + bytes(6 * 1024 * 1024)})
    refused(errors.InvalidParameterException, detect, Document={})
    missing = {"S3Object": {"Bucket": "receipts", "Name": "none"}}
    refused(errors.InvalidS3ObjectException, detect, Document=missing)
    refused(errors.UnsupportedDocumentException, textract.analyze_expense, Document={"Bytes": b"text"})
    error = refused(ClientError, textract.get_document_text_detection, JobId="none")
    assert error.response["Error"]["Code"] == "UnknownOperationException", error.response


def refused(exception, operation, **parameters):
    try:
        operation(**parameters)
    except exception as error:
        return error
    raise AssertionError(f"{operation.__name__} was not refused with {exception.__name__}")


if __name__ == "__main__":
    main()
