//! Requests that travel without a network: in files and pasted text, through the portal or the command line. What is in
//! them is settled exactly as over `/v1`, one by one; what is wrong with one never stops the others.

mod rows;
mod words;

pub(crate) use rows::{Answered, Asked, Given, Row, Trouble, bundle, settle_all};
pub(crate) use words::{Words, of_receipt, of_trouble};
