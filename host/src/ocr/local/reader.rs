//! Who reads the image: Tesseract in a process of its own, or an answer that was recorded before.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::blocks::{self, Block};
use super::document::{Format, Image};
use super::error::Error;
use super::refusal::Refusal;
use super::turned;

/// A receipt takes Tesseract about a second, a dense page ten.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub enum Reader {
    /// The program at this path, or by this name.
    Tesseract { path: PathBuf },
    /// The same bytes each time, at no cost: for load tests and replays.
    Recorded(Recordings),
}

impl Reader {
    /// Tesseract as it is found in PATH.
    pub fn tesseract() -> Self {
        Self::Tesseract { path: PathBuf::from("tesseract") }
    }

    /// This answer for every image.
    pub fn recorded(body: impl Into<Bytes>) -> Self {
        Self::Recorded(Recordings::new().with_default(body))
    }

    /// Fails when this reader could not read anything.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let Self::Tesseract { path } = self else { return Ok(()) };
        let broken = |message: String| Error::NoTesseract { path: path.clone(), message };
        let output = Command::new(path).arg("--list-langs").stdin(Stdio::null()).output().await;
        let output = output.map_err(|error| broken(error.to_string()))?;
        if !output.status.success() {
            return Err(broken(last_line(&output.stderr)));
        }
        match String::from_utf8_lossy(&output.stdout).lines().any(|language| language.trim() == "eng") {
            true => Ok(()),
            false => Err(Error::NoEnglish),
        }
    }
}

/// Recorded answers by the image's SHA-256, and one for all others.
#[derive(Clone, Default)]
pub struct Recordings {
    default: Option<Bytes>,
    by_digest: Arc<HashMap<String, Bytes>>,
}

impl Recordings {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a folder: `<SHA-256 of the image>.json`, and `default.json` for all others.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| Error::Recording { path, source }
        };
        let mut recordings = Self::new();
        for entry in fs::read_dir(dir).map_err(failed(dir))? {
            let path = entry.map_err(failed(dir))?.path();
            let (Some(stem), Some("json")) = (stem(&path), path.extension().and_then(|ext| ext.to_str())) else {
                continue;
            };
            let body = fs::read(&path).map_err(failed(&path))?;
            recordings = match stem {
                "default" => recordings.with_default(body),
                digest => recordings.with_image(digest, body),
            };
        }
        Ok(recordings)
    }

    pub fn with_default(mut self, body: impl Into<Bytes>) -> Self {
        self.default = Some(body.into());
        self
    }

    pub fn with_image(mut self, digest: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Arc::make_mut(&mut self.by_digest).insert(digest.into(), body.into());
        self
    }

    pub(super) fn find(&self, digest: &str) -> Result<Bytes, Refusal> {
        let body = self.by_digest.get(digest).or(self.default.as_ref());
        body.cloned().ok_or_else(|| Refusal::internal(&format!("no answer is recorded for the image {digest}")))
    }
}

fn stem(path: &Path) -> Option<&str> {
    path.file_stem()?.to_str()
}

/// Reads a page with Tesseract.
pub(super) async fn read(tesseract: &Path, image: &Image) -> Result<Vec<Block>, Refusal> {
    let page = match image.format {
        Format::Pdf => pdf_page(&image.bytes).await?,
        Format::Jpeg => turned_upright(image.bytes.clone()).await,
        // What a TIFF says of its orientation is heeded by the library that Tesseract reads with.
        Format::Png | Format::Tiff => image.bytes.clone(),
    };
    let mut command = Command::new(tesseract);
    // psm 4: one column of text of different sizes, which is what a receipt is. One thread: images are read side by
    // side, and Tesseract's threads for a single one are no faster.
    command.args(["stdin", "stdout", "-l", "eng", "--psm", "4", "-c", "tessedit_create_tsv=1"]);
    command.env("OMP_THREAD_LIMIT", "1");
    let output = run(command, page).await.map_err(|error| Refusal::internal(&format!("Tesseract: {error}")))?;
    if !output.status.success() {
        let reason = last_line(&output.stderr);
        return match output.status.code() {
            Some(_) => Err(Refusal::bad_document(&format!("The document cannot be read (Tesseract: {reason})."))),
            None => Err(Refusal::internal("Tesseract was killed")),
        };
    }
    blocks::from_tsv(&String::from_utf8_lossy(&output.stdout), &image.digest).map_err(|error| match error {
        blocks::Error::ManyPages => Refusal::many_pages(),
        error => Refusal::internal(&error.to_string()),
    })
}

async fn turned_upright(photo: Bytes) -> Bytes {
    let turned = photo.clone();
    let turned = tokio::task::spawn_blocking(move || turned::upright(&turned)).await;
    turned.ok().flatten().unwrap_or(photo)
}

/// A PDF's only page as PNG.
async fn pdf_page(pdf: &Bytes) -> Result<Bytes, Refusal> {
    // pdfinfo wants a file that it can seek in.
    let save = || {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(pdf)?;
        Ok::<_, io::Error>(file)
    };
    let file = save().map_err(|error| Refusal::internal(&format!("cannot keep the PDF: {error}")))?;

    let mut info = Command::new("pdfinfo");
    info.arg(file.path());
    let info = run_poppler(info).await?;
    let pages = String::from_utf8_lossy(&info.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("Pages:")?.trim().parse::<u32>().ok())
        .ok_or_else(|| Refusal::bad_document("The PDF has no pages."))?;
    if pages != 1 {
        return Err(Refusal::many_pages());
    }

    let mut render = Command::new("pdftoppm");
    // The longer side in pixels: a till roll and an A4 page are both legible so, and neither is huge.
    render.args(["-png", "-singlefile", "-scale-to", "3000"]).arg(file.path());
    Ok(run_poppler(render).await?.stdout.into())
}

async fn run_poppler(command: Command) -> Result<Output, Refusal> {
    let program = command.as_std().get_program().display().to_string();
    let output = run(command, Bytes::new()).await.map_err(|error| match error.kind() {
        // PermissionDenied: PATH has a folder that we may not look into, and the program was in no other.
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Refusal::unsupported(
            "The local Textract reads PDF with poppler-utils, which is not on this machine: \
             `apt-get install poppler-utils` or `brew install poppler`.",
        ),
        _ => Refusal::internal(&format!("{program}: {error}")),
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    if reason.contains("Incorrect password") {
        return Err(Refusal::unsupported("The PDF is protected by a password."));
    }
    Err(Refusal::bad_document(&format!("The PDF cannot be read ({}: {}).", program, last_line(reason.as_bytes()))))
}

/// Runs a program on some input, for [`TIMEOUT`] at most; then, or when the caller goes away, it is killed.
async fn run(mut command: Command, input: Bytes) -> io::Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let feed = async {
        // Whoever does not read to the end says why on stderr.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(&input).await;
        }
    };
    let finished = async { tokio::join!(feed, child.wait_with_output()).1 };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("took longer than {} s", TIMEOUT.as_secs()));
    tokio::time::timeout(TIMEOUT, finished).await.map_err(late)?
}

fn last_line(output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    output.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no message").to_owned()
}
