//! Textract over the AWS SDK. What comes back is the body that the service sent, byte for byte, taken by an interceptor
//! beside the SDK's own parsing: the parsed form loses fields that the SDK does not know.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aws_sdk_textract::Client;
use aws_sdk_textract::config::http::HttpResponse;
use aws_sdk_textract::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_textract::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_textract::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_textract::primitives::Blob;
use aws_sdk_textract::types::{Document, S3Object};

use super::rate::RateLimit;
use crate::aws;
use crate::failure::{Failure, FailureKind};
use crate::storage::{Image, more_pages, unsupported};
use crate::telemetry::metrics::Metrics;

/// Textract's limit for image bytes in a request, 5 MB (docs.aws.amazon.com/textract/latest/dg/API_Document.html).
/// Above it the image goes by S3 reference.
pub const LARGEST_INLINE: usize = 5 * 1024 * 1024;

/// How an image reaches Textract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcrSource {
    /// As bytes where they fit, else by S3 reference.
    Bytes,
    /// By S3 reference, always.
    S3,
}

/// Which call is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcrApi {
    /// DetectDocumentText.
    Detect,
    /// AnalyzeExpense.
    Expense,
}

impl OcrApi {
    /// The name in artifact keys and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Expense => "expense",
        }
    }
}

/// The OCR service.
#[derive(Debug)]
pub struct Textract {
    client: Client,
    source: OcrSource,
    rate: RateLimit,
    metrics: Arc<Metrics>,
}

impl Textract {
    /// `calls_per_second`: the shared limit; none is no limit.
    pub fn new(client: Client, source: OcrSource, calls_per_second: Option<f64>) -> Self {
        Self { client, source, rate: RateLimit::new(calls_per_second), metrics: Arc::default() }
    }

    /// Counts there what is paid for.
    pub fn counted_by(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Reads an image. Every success costs money.
    pub async fn read(&self, image: &Image, api: OcrApi) -> Result<Vec<u8>, Failure> {
        let what = format!("{} of s3://{}/{}", operation(api), image.bucket, image.key);
        if let Some(why) = unsupported(&image.bytes) {
            let why = format!("{what}: {why}");
            return Err(Failure::new(FailureKind::UnsupportedDocument, "image.UnsupportedFormat", why));
        }
        self.call(image, api, &what).await.map_err(|failure| explained(failure, image))
    }

    async fn call(&self, image: &Image, api: OcrApi, what: &str) -> Result<Vec<u8>, Failure> {
        let document = self.document(image);
        let body = Captured::default();
        self.rate.turn().await;
        let asked = Instant::now();
        match api {
            OcrApi::Detect => {
                let call = self.client.detect_document_text().document(document).customize().interceptor(body.clone());
                call.send().await.map(drop).or_else(|error| body.excuse(&error, what))?;
            }
            OcrApi::Expense => {
                let call = self.client.analyze_expense().document(document).customize().interceptor(body.clone());
                call.send().await.map(drop).or_else(|error| body.excuse(&error, what))?;
            }
        }
        self.metrics.page_read(asked.elapsed());
        body.take().ok_or_else(|| {
            Failure::new(FailureKind::BadResponse, "textract.NoBody", format!("{what}: the answer had no body"))
        })
    }

    fn document(&self, image: &Image) -> Document {
        if self.source == OcrSource::Bytes && image.bytes.len() <= LARGEST_INLINE {
            return Document::builder().bytes(Blob::new(image.bytes.clone())).build();
        }
        let object = S3Object::builder().bucket(&image.bucket).name(&image.key).set_version(image.version_id.clone());
        Document::builder().s3_object(object.build()).build()
    }
}

/// What Textract's error does not say.
fn explained(failure: Failure, image: &Image) -> Failure {
    let Failure { kind, code, message } = failure;
    match code.as_str() {
        "textract.InvalidS3ObjectException" if image.elsewhere && image.bytes.len() > LARGEST_INLINE => {
            let why = format!(
                "{message} (the photo has {} bytes; what is over {LARGEST_INLINE} Textract reads from AWS's S3 alone, and the \
                 bucket is not there: store it smaller)",
                image.bytes.len()
            );
            Failure::new(FailureKind::DocumentTooLarge, "image.TooLargeForRequest", why)
        }
        "textract.InvalidS3ObjectException" if image.elsewhere => {
            let hint = "Textract reads from AWS's S3 alone, and the bucket is not there: use --textract-source bytes";
            Failure::new(kind, code, format!("{message} ({hint})"))
        }
        "textract.UnsupportedDocumentException" => match more_pages(&image.bytes) {
            Some(pages) => {
                let hint = format!("it has {pages} pages, where one is read: store each as a file of its own");
                Failure::new(kind, code, format!("{message} ({hint})"))
            }
            None if matches!(image.content_type, "application/pdf" | "image/tiff") => {
                let hint = "one page is read, without a password: has it several pages?";
                Failure::new(kind, code, format!("{message} ({hint})"))
            }
            None => Failure { kind, code, message },
        },
        _ => Failure { kind, code, message },
    }
}

fn operation(api: OcrApi) -> &'static str {
    match api {
        OcrApi::Detect => "DetectDocumentText",
        OcrApi::Expense => "AnalyzeExpense",
    }
}

fn classify<E>(error: &SdkError<E, HttpResponse>, what: &str) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    // An answer that was cut off or garbled. (The SDK takes a garbled one for an error of the service with status 200.) It
    // was paid for, and so will the next one be: a kind that is charged, so that it has an end.
    let damaged = match error {
        SdkError::ResponseError(_) => true,
        SdkError::ServiceError(context) => context.raw().status().is_success(),
        _ => false,
    };
    if damaged {
        return Failure::new(FailureKind::Internal, "textract.BrokenBody", format!("{what}: the answer was damaged"));
    }
    let failure = aws::classify(error, "textract", what, kind_of_code);
    match (failure.kind, error.raw_response().map(|answer| answer.status().as_u16())) {
        // Textract has nothing that could not be found: what answers at its address is something else. Nor does it refuse
        // without saying why.
        (FailureKind::NotFound | FailureKind::DocumentTooLarge, Some(404 | 410 | 413)) if !is_named(&failure) => {
            Failure { kind: FailureKind::Unavailable, ..failure }
        }
        (FailureKind::Internal, Some(400..=499)) if failure.code.starts_with("textract.Http") => {
            Failure { kind: FailureKind::Unavailable, ..failure }
        }
        _ => failure,
    }
}

/// Whether the kind is by a code of Textract's, and not by the status alone.
fn is_named(failure: &Failure) -> bool {
    failure.code.strip_prefix("textract.").is_some_and(|code| kind_of_code(code).is_some())
}

/// Textract's error codes (docs.aws.amazon.com/textract/latest/dg/API_DetectDocumentText.html and the common errors), as
/// the contract's kinds.
pub fn kind_of_code(code: &str) -> Option<FailureKind> {
    Some(match code {
        "BadDocumentException" => FailureKind::BadDocument,
        "DocumentTooLargeException" => FailureKind::DocumentTooLarge,
        "UnsupportedDocumentException" => FailureKind::UnsupportedDocument,
        "ProvisionedThroughputExceededException" | "LimitExceededException" => FailureKind::Throttled,
        // The image was read by this host a moment ago: Textract lacks the right to it, or is in another region.
        "InvalidS3ObjectException" | "InvalidKMSKeyException" => FailureKind::AccessDenied,
        "InvalidParameterException"
        | "ValidationException"
        | "ValidationError"
        | "SerializationException"
        | "UnknownOperationException"
        | "InvalidAction"
        | "MissingParameter"
        | "InvalidParameterValue"
        | "InvalidParameterCombination" => FailureKind::InvalidRequest,
        code => return aws::common_code(code),
    })
}

/// Takes the response's body as it came.
#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<Option<Vec<u8>>>>);

impl Captured {
    fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A whole answer that the SDK cannot make sense of is an answer all the same, and paid for: the component reads it.
    fn excuse<E>(&self, error: &SdkError<E, HttpResponse>, what: &str) -> Result<(), Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let success = error.raw_response().is_some_and(|answer| answer.status().is_success());
        let whole = body.as_deref().is_some_and(|body| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok());
        if success && whole { Ok(()) } else { Err(classify(error, what)) }
    }
}

impl Intercept for Captured {
    fn name(&self) -> &'static str {
        "captured-body"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let bytes = context.response().body().bytes().map(<[u8]>::to_vec);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        Ok(())
    }
}
