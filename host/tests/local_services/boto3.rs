//! The local services as boto3 sees them: a client that none of us wrote.

use host::ocr::local::{LocalTextract, Reader, Settings};
use tokio::process::Command;

use crate::support::{local_s3, repository, s3_client};

#[tokio::test]
async fn boto3_can_talk_to_the_local_services() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let boto3 = Command::new(&python).args(["-c", "import boto3"]).output().await;
    assert!(
        boto3.is_ok_and(|import| import.status.success()),
        "{python} has no boto3: `make test` installs it (Debian's python3-boto3), or set PYTHON to one that has it"
    );

    let (s3, _root) = local_s3().await;
    let mut settings = Settings::new(Reader::tesseract());
    settings.s3 = Some(s3_client(&s3));
    let textract = LocalTextract::start(settings).await.unwrap();

    let script = repository().join("tests/clients/textract_boto3.py");
    let output = Command::new(&python)
        .arg(script)
        .arg(repository().join("tests/receipts/X51005337872.jpg"))
        .args(["--textract", &textract.endpoint(), "--s3", &s3.endpoint()])
        // Nothing of the person's own configuration, and no look for credentials in a cloud.
        .env("AWS_ACCESS_KEY_ID", s3.access_key())
        .env("AWS_SECRET_ACCESS_KEY", s3.secret_key())
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env_remove("AWS_PROFILE")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .await
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert_eq!(textract.calls(), 3, "text from bytes, text from S3, expense: {stdout}");
}
