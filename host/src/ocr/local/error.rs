//! Why the service does not start.

use std::io;
use std::net::SocketAddr;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("local Textract: cannot listen on {address}: {source}; choose another port")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(
        "local Textract: {} does not run ({message}); install Tesseract: \
         `apt-get install tesseract-ocr` on Debian and Ubuntu, `brew install tesseract` on macOS",
        path.display()
    )]
    NoTesseract { path: std::path::PathBuf, message: String },
    #[error(
        "local Textract: Tesseract has no English language data; install it: \
         `apt-get install tesseract-ocr-eng` on Debian and Ubuntu, `brew install tesseract` on macOS"
    )]
    NoEnglish,
    #[error("local Textract: cannot read the recorded answer {}: {source}", path.display())]
    Recording { path: std::path::PathBuf, source: io::Error },
}
