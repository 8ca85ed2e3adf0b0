//! What components of former versions of the contract speak, and how it becomes what is spoken now.
//!
//! A record that has another field is another type to the component model, so a former version needs what has changed since,
//! and only that: the receipt, which `queue.complete` takes and `parser.parse` returns. All the rest is linked under its former
//! name as it is.

use wasmtime::component::{ComponentType, HasSelf, Lift, Linker, Lower, Resource};

use super::bindings::snapceit::receipts::queue::HostJob;
use super::bindings::snapceit::receipts::{objects, queue, textract, types as wit};
use super::handles::{ArtifactInfo, JobHandle};
use super::state::RunState;

/// Adds 0.1.0 as it was when the receipt had got its last fields, but not yet a version for them: 0.2.0 by another name.
pub(super) fn add_0_1_with_reasons(linker: &mut Linker<RunState>) -> wasmtime::Result<()> {
    linker.instance("snapceit:receipts/types@0.1.0")?;
    objects::add_to_linker_instance::<_, HasSelf<_>>(&mut linker.instance("snapceit:receipts/objects@0.1.0")?, |s| s)?;
    queue::add_to_linker_instance::<_, HasSelf<_>>(&mut linker.instance(QUEUE_0_1)?, |s| s)?;
    textract::add_to_linker_instance::<_, HasSelf<_>>(&mut linker.instance("snapceit:receipts/textract@0.1.0")?, |s| s)
}

/// Takes 0.1.0's receipt in place of the one that [`add_0_1_with_reasons`] takes.
pub(super) fn take_receipts_of_0_1(linker: &mut Linker<RunState>) -> wasmtime::Result<()> {
    type Args = (Resource<JobHandle>, Receipt, Resource<ArtifactInfo>);
    linker.allow_shadowing(true);
    linker.instance(QUEUE_0_1)?.func_wrap_async(
        "[static]job.complete",
        |mut store, (job, receipt, artifact): Args| {
            Box::new(async move { Ok((store.data_mut().complete(job, receipt.into(), artifact).await?,)) })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

const QUEUE_0_1: &str = "snapceit:receipts/queue@0.1.0";

/// 0.1.0's `receipt`.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct Receipt {
    vendor: Option<TextField>,
    total: Option<MoneyField>,
    date: Option<DateField>,
    confidence: f32,
    pages: u32,
}

#[derive(Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct TextField {
    value: String,
    confidence: f32,
    place: Option<wit::Place>,
}

#[derive(Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct MoneyField {
    value: wit::Money,
    confidence: f32,
    place: Option<wit::Place>,
}

#[derive(Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct DateField {
    value: wit::Date,
    confidence: f32,
    place: Option<wit::Place>,
}

impl From<Receipt> for wit::Receipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            vendor: receipt.vendor.map(|TextField { value, confidence, place }| wit::TextField {
                value,
                confidence,
                place,
                why: None,
            }),
            total: receipt.total.map(|MoneyField { value, confidence, place }| wit::MoneyField {
                value,
                confidence,
                place,
                why: None,
            }),
            date: receipt.date.map(|DateField { value, confidence, place }| wit::DateField {
                value,
                confidence,
                place,
                why: None,
            }),
            subtotal: None,
            tax: None,
            confidence: receipt.confidence,
            pages: receipt.pages,
        }
    }
}
