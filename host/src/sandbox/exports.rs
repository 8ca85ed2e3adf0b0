//! The contract's exports of one component, of whichever version it is: found and checked once, when it is loaded.

use wasmtime::Store;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, Instance};

use super::bindings::exports::snapceit::receipts::parser::ParseError;
use super::bindings::exports::snapceit::receipts::policy::Decision;
use super::bindings::exports::snapceit::receipts::worker::Summary;
use super::bindings::snapceit::receipts::types as wit;
use super::contract::contract_interface;
use super::former;
use super::state::RunState;

/// Where the functions are in an instance.
pub(super) struct Exports {
    run: ComponentExportIndex,
    parse: ComponentExportIndex,
    decide: ComponentExportIndex,
    returns: ReceiptType,
}

/// The receipt that `parse` returns.
#[derive(Clone, Copy)]
enum ReceiptType {
    Present,
    /// The contract's 0.1.0.
    Former,
}

impl Exports {
    /// Finds them, and fails where one has another signature than any version of the contract: linking checks the imports' alone,
    /// and a run, when jobs are at stake, is too late.
    pub(super) fn of(component: &Component) -> wasmtime::Result<Self> {
        let types = component.component_type();
        let types = types.instance_type();
        let (run, signature) = find(component, "worker", "run")?;
        fits("worker.run", signature.typecheck::<(u32,), (Result<Summary, wit::Failure>,)>(&types))?;
        let (decide, signature) = find(component, "policy", "decide")?;
        fits("policy.decide", signature.typecheck::<(&wit::Failure, u32, u32, u64), (Decision,)>(&types))?;
        let (parse, signature) = find(component, "parser", "parse")?;
        let former = signature.typecheck::<(&str,), (Result<former::Receipt, ParseError>,)>(&types);
        let returns = match former {
            Ok(()) => ReceiptType::Former,
            Err(_) => ReceiptType::Present,
        };
        if let ReceiptType::Present = returns {
            fits("parser.parse", signature.typecheck::<(&str,), (Result<wit::Receipt, ParseError>,)>(&types))?;
        }
        Ok(Self { run, parse, decide, returns })
    }

    pub(super) async fn run(
        &self,
        store: &mut Store<RunState>,
        instance: Instance,
        limit: u32,
    ) -> wasmtime::Result<Result<Summary, wit::Failure>> {
        let run = instance.get_typed_func::<(u32,), (Result<Summary, wit::Failure>,)>(&mut *store, &self.run)?;
        Ok(run.call_async(store, (limit,)).await?.0)
    }

    pub(super) async fn parse(
        &self,
        store: &mut Store<RunState>,
        instance: Instance,
        json: &str,
    ) -> wasmtime::Result<Result<wit::Receipt, ParseError>> {
        match self.returns {
            ReceiptType::Present => {
                let parse = instance
                    .get_typed_func::<(&str,), (Result<wit::Receipt, ParseError>,)>(&mut *store, &self.parse)?;
                Ok(parse.call_async(store, (json,)).await?.0)
            }
            ReceiptType::Former => {
                let parse = instance
                    .get_typed_func::<(&str,), (Result<former::Receipt, ParseError>,)>(&mut *store, &self.parse)?;
                Ok(parse.call_async(store, (json,)).await?.0.map(Into::into))
            }
        }
    }

    pub(super) async fn decide(
        &self,
        store: &mut Store<RunState>,
        instance: Instance,
        (failure, attempt, max_attempts, seed): (&wit::Failure, u32, u32, u64),
    ) -> wasmtime::Result<Decision> {
        let decide =
            instance.get_typed_func::<(&wit::Failure, u32, u32, u64), (Decision,)>(&mut *store, &self.decide)?;
        Ok(decide.call_async(store, (failure, attempt, max_attempts, seed)).await?.0)
    }
}

/// A function of one of the contract's interfaces, whatever version stands in the interface's name.
fn find(component: &Component, interface: &str, name: &str) -> wasmtime::Result<(ComponentExportIndex, ComponentFunc)> {
    let engine = component.engine();
    let whole = component.component_type();
    let mut names = whole.exports(engine).map(|(name, _)| name);
    let is_it = |name: &&str| contract_interface(name).is_some_and(|(exported, _)| exported == interface);
    let found = names
        .find(is_it)
        .and_then(|exported| component.get_export_index(None, exported))
        .and_then(|exported| component.get_export(Some(&exported), name));
    match found {
        Some((ComponentItem::ComponentFunc(signature), index)) => Ok((index, signature)),
        _ => Err(wasmtime::format_err!("it exports no {interface}.{name}")),
    }
}

fn fits(name: &str, checked: wasmtime::Result<()>) -> wasmtime::Result<()> {
    checked.map_err(|error| error.context(format!("its {name} has another signature than the contract's")))
}
