//! Every kind of attack that we know of, in one list. Each ends in an error with a name (or finds nothing), with the host
//! unharmed, another instance's job done meanwhile, and the next one done afterwards.
//!
//! A file a family; `raw` builds components that no compiler would make.

mod excess;
mod handles;
mod harm;
mod lies;
mod loading;
mod memory;
mod raw;
mod realloc;

/// What a component does.
enum How {
    /// This component's `run`, with a job.
    Run(Vec<u8>),
    /// `run` of the component `misbehaves`, with a job whose receipt has this name.
    RunAs(&'static str),
    /// `parse` of the component `misbehaves`, asked this.
    Ask(&'static str),
    /// It is loaded.
    Load(Vec<u8>),
    /// This test component is loaded.
    LoadNamed(&'static str),
}

/// What becomes of it.
#[derive(Clone, Copy)]
enum Ends {
    /// Its run fails with this in the error, and the job that it was working is charged with it.
    Charged(&'static str),
    /// Its run fails with this, before it took a job: nobody is charged.
    BeforeAJob(&'static str),
    /// Its run fails with this, after it has settled its job: that stays settled.
    AfterSettling(&'static str),
    /// It is not run, for this reason.
    Refused(&'static str),
    /// It answers that it found this: nothing of the world.
    Finds(&'static str),
    /// It gets what anybody gets, within the limits.
    Works,
}

/// One kind of attack.
struct Case {
    how: How,
    ends: Ends,
}

macro_rules! attacks {
    ($($(#[$doc:meta])* $name:ident => $case:expr,)*) => {
        /// All of them. A kind without a case does not compile, and each case is tried by each test.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Attack {
            $($(#[$doc])* $name,)*
        }

        impl Attack {
            const ALL: &[Self] = &[$(Self::$name),*];

            fn case(self) -> Case {
                match self {
                    $(Self::$name => $case,)*
                }
            }
        }
    };
}

attacks! {
    /// Reads the environment and the arguments.
    Environment => Case { how: How::Ask("environment"), ends: Ends::Finds("[] []") },
    /// Looks for a folder to be in.
    WorkingDirectory => Case { how: How::Ask("directory"), ends: Ends::Finds("None") },
    /// Reads standard input.
    StandardInput => Case { how: How::Ask("stdin"), ends: Ends::Finds("Ok(0) []") },
    /// Reads both clocks, computes, and reads them again.
    Clocks => Case { how: How::Ask("clocks"), ends: Ends::Finds("0ns 0ns 0ns") },
    /// Looks for a terminal.
    Terminal => Case { how: How::Ask("terminal"), ends: Ends::Finds("false") },
    /// Claims jobs where there is no queue.
    QueueInAPureCall => Case { how: How::Ask("claim"), ends: Ends::Finds("host.PureCall") },
    /// Imports files.
    Files => Case { how: How::LoadNamed("reaches_for_files"), ends: Ends::Refused("\"wasi:filesystem/") },
    /// Imports the network.
    Sockets => Case { how: How::LoadNamed("reaches_for_sockets"), ends: Ends::Refused("\"wasi:sockets/") },
    /// Imports an HTTP client.
    Http => Case { how: How::LoadNamed("reaches_for_http"), ends: Ends::Refused("\"wasi:http/") },

    /// Settles a job with a handle that it never held.
    ForgedHandle => handles::forged(),
    /// Settles a job with an image's handle.
    HandleOfAnotherKind => handles::of_another_kind(),
    /// Settles a job a second time.
    HandleAfterSettling => handles::after_settling(),
    /// Asks for the image of a job that it has given back.
    HandleAfterDropping => handles::after_dropping(),
    /// Drops an image twice.
    DroppedTwice => handles::dropped_twice(),
    /// Fetches images until there is no handle left.
    AMillionHandles => handles::a_million(),

    /// Passes a message of a gigabyte that is not there.
    GigabyteOfText => lies::gigabyte_of_text(),
    /// Passes a message of 48 megabytes that is there.
    MuchText => lies::much_text(),
    /// Passes a message that is not UTF-8.
    NotUtf8 => lies::not_utf8(),
    /// Passes a kind of failure that there is not.
    UnknownKind => lies::unknown_kind(),
    /// Passes a reading that lies outside of its memory.
    ArgumentsOutside => lies::arguments_outside(),
    /// Returns neither success nor failure.
    WrongDiscriminant => lies::wrong_discriminant(),
    /// Returns a result at an odd address.
    ResultNotAligned => lies::result_not_aligned(),
    /// Returns a result outside of its memory.
    ResultOutside => lies::result_outside(),
    /// Returns a failure with a message of a gigabyte.
    GigabyteReturned => lies::gigabyte_returned(),
    /// Returns a failure with a message of 48 megabytes.
    MuchReturned => lies::much_returned(),

    /// Computes for ever while the host asks it for memory.
    ReallocLoops => realloc::loops(),
    /// Traps while the host asks it for memory.
    ReallocTraps => realloc::traps(),
    /// Gives the host memory that it does not have.
    ReallocOutside => realloc::outside(),
    /// Gives the host memory at an odd address.
    ReallocNotAligned => realloc::not_aligned(),
    /// Calls the host while the host asks it for memory.
    ReallocCallsBack => realloc::calls_back(),
    /// Calls the host while it clears up after its answer.
    PostReturnCallsBack => realloc::post_return_calls_back(),
    /// Computes for ever while it clears up after its answer.
    PostReturnLoops => realloc::post_return_loops(),

    /// Computes for ever.
    ComputesForEver => excess::computes(),
    /// Calls the host for ever.
    CallsForEver => excess::calls(),
    /// Computes for ever before anything of it is called.
    StartLoops => excess::start_loops(),
    /// Traps before anything of it is called.
    StartTraps => excess::start_traps(),
    /// Calls itself for ever.
    DeepRecursion => excess::recursion(),
    /// Takes all the memory that it gets.
    GrowsMemory => excess::grows_memory(),
    /// Makes its table as large as it gets.
    GrowsTable => excess::grows_table(),
    /// Sleeps for three thousand years.
    Sleeps => Case { how: How::RunAs("sleep.x"), ends: Ends::Charged("a clock that stands still") },
    /// Ends the process.
    Exits => Case { how: How::RunAs("exit.x"), ends: Ends::Charged("exit") },
    /// Panics with a second line that looks like the log.
    Panics => Case { how: How::RunAs("panic.x"), ends: Ends::Charged("unreachable") },
    /// Prints a flood: what is in the log of it is another test's (`wasi`).
    FloodsTheLog => Case { how: How::RunAs("print.x"), ends: Ends::Works },

    /// Has more bytes than a component may.
    TooLarge => loading::too_large(),
    /// Begins with four gigabytes of memory.
    MemoryToBeginWith => loading::memory_to_begin_with(),
    /// Begins with a table of a billion elements.
    TableToBeginWith => loading::table_to_begin_with(),
    /// Has two memories.
    TwoMemories => loading::two_memories(),
    /// Has a memory that is addressed with 64 bits.
    LargeMemory => loading::large_memory(),
    /// Has a memory that threads share.
    SharedMemory => loading::shared_memory(),
    /// Has a hundred tables.
    ManyTables => loading::many_tables(),
    /// Consists of a hundred instances.
    ManyInstances => loading::many_instances(),
    /// Has ten thousand functions.
    ManyFunctions => loading::many_functions(),
    /// Has ten thousand types.
    ManyTypes => loading::many_types(),
    /// Has a function with two hundred thousand instructions.
    LongFunction => loading::long_function(),
}
