//! What the program can do, a file a capability.

mod alerts;
mod asyncapi;
mod browser;
mod check;
mod command_line;
mod crash;
mod dead_letters;
mod documentation;
mod first_start;
mod functions;
mod garbage;
mod generate;
mod https;
mod load;
mod openapi;
mod pages;
mod rebuild;
mod reconcile;
mod replay;
mod shadow;
mod spans;
mod template;
mod tutorial;
