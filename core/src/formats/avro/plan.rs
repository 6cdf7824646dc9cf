//! How bytes that one schema wrote are read into what another one describes: the two resolved against each other once, so that a
//! record costs no comparison of names.
//!
//! Source: Apache Avro 1.12 specification, "Schema Resolution". Beside it, two different logical types of one primitive do not match:
//! microseconds would pass for milliseconds.

use std::collections::HashMap;

use super::schema::{Field, Schema, Type, TypeId};

/// So often may one type be resolved against another: what does not match is tried again wherever it stands, and a schema that a
/// registry holds is another one's word.
const MAX_RESOLVED: usize = 20_000;
/// So many reasons why two schemas do not match are told.
const MAX_MISMATCHES: usize = 50;

/// Where an operation stands in its plan.
pub(super) type OpId = usize;

/// What is done to read a record.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    ops: Vec<Op>,
    root: OpId,
}

/// What is done to read one value.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    IntToLong,
    IntToDouble,
    LongToDouble,
    FloatToDouble,
    Bytes,
    String,
    BytesToString,
    StringToBytes,
    Fixed(usize),
    /// Of each of the writer's symbols the reader's place.
    Enum(Vec<Symbol>),
    Array(OpId),
    Map(OpId),
    /// Whether the writer has the reader's fields, all of them and no other, in their order.
    Record {
        steps: Vec<Step>,
        is_in_order: bool,
    },
    /// The writer has a union: by its branch.
    Branches(Vec<OpId>),
    /// The reader has a union: it is of that branch.
    Branch {
        at: u32,
        inner: OpId,
    },
    /// What the reader has no place for; why.
    Never(String),
    /// A record that is resolved right now, and holds itself.
    Unfinished,
}

/// A writer's symbol.
#[derive(Clone, Debug)]
pub(super) struct Symbol {
    pub(super) name: String,
    /// The reader's, or its default; neither: the reader does not know it.
    pub(super) is: Option<u32>,
    /// Whether that is the reader's default.
    pub(super) is_default: bool,
}

/// What is done for one field of a record, in the writer's order; the reader's defaults behind.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The reader has it, at that place.
    Read { at: u32, name: String, op: OpId, is_tenant: bool },
    /// The reader does not have it.
    Skip { name: String, op: OpId },
    /// The writer does not have it: its default, from the reader's schema.
    Default { at: u32, name: String, record: TypeId },
}

/// Why two schemas do not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// Of the value, a JSON pointer.
    pub(super) pointer: String,
    pub(super) message: String,
}

impl Plan {
    /// Resolves one schema against another.
    pub(super) fn of(writer: &Schema, reader: &Schema) -> Result<Self, Vec<Mismatch>> {
        let mut resolver = Resolver { writer, reader, ops: Vec::new(), known: HashMap::new(), resolved: 0 };
        let root = resolver.resolve(writer.root(), reader.root(), "").map_err(|mut mismatches| {
            mismatches.truncate(MAX_MISMATCHES);
            mismatches
        })?;
        let mut plan = Self { ops: resolver.ops, root };
        if let Op::Record { steps, .. } = &mut plan.ops[root] {
            for step in steps {
                if let Step::Read { name, is_tenant, .. } = step {
                    *is_tenant = name == super::TENANT_FIELD;
                }
            }
        }
        Ok(plan)
    }

    pub(super) fn root(&self) -> &Op {
        &self.ops[self.root]
    }

    pub(super) fn get(&self, id: OpId) -> &Op {
        &self.ops[id]
    }
}

struct Resolver<'s> {
    writer: &'s Schema,
    reader: &'s Schema,
    ops: Vec<Op>,
    /// Records, by which one of the reader's is made of which one of the writer's; none: it is skipped.
    known: HashMap<(TypeId, Option<TypeId>), OpId>,
    resolved: usize,
}

type Resolved = Result<OpId, Vec<Mismatch>>;

impl Resolver<'_> {
    fn add(&mut self, op: Op) -> OpId {
        self.ops.push(op);
        self.ops.len() - 1
    }

    fn mismatch(&self, writer: TypeId, reader: TypeId, pointer: &str) -> Vec<Mismatch> {
        let message =
            format!("expected {}, and its writer's schema has {}", self.reader.told(reader), self.writer.told(writer));
        vec![Mismatch { pointer: pointer.to_owned(), message }]
    }

    fn resolve(&mut self, writer: TypeId, reader: TypeId, pointer: &str) -> Resolved {
        self.resolved += 1;
        if self.resolved > MAX_RESOLVED {
            let message = format!("its writer's schema takes more than {MAX_RESOLVED} steps to be resolved");
            return Err(vec![Mismatch { pointer: pointer.to_owned(), message }]);
        }
        let (schemas, of) = ((self.writer, self.reader), (writer, reader));
        let op = match (schemas.0.get(writer), schemas.1.get(reader)) {
            (Type::Union(branches), _) => {
                let (mut ops, mut wrong) = (Vec::new(), Vec::new());
                for branch in branches {
                    match self.resolve(*branch, reader, pointer) {
                        Ok(op) => ops.push(op),
                        Err(mismatches) => {
                            let told = mismatches.iter().map(|of| format!("{} {}", of.pointer, of.message));
                            let told: Vec<String> = told.map(|text| text.trim_start().to_owned()).collect();
                            ops.push(self.add(Op::Never(told.join("; "))));
                            wrong.extend(mismatches);
                        }
                    }
                }
                if ops.iter().all(|op| matches!(self.ops[*op], Op::Never(_))) {
                    return Err(wrong);
                }
                Op::Branches(ops)
            }
            (_, Type::Union(branches)) => return self.resolve_into_union(of, branches, pointer),
            (Type::Null, Type::Null) => Op::Null,
            (Type::Boolean, Type::Boolean) => Op::Boolean,
            (Type::Int(a), Type::Int(b)) if is_like(a, b) => Op::Int,
            (Type::Int(a), Type::Long(b)) if is_like(a, b) => Op::IntToLong,
            (Type::Long(a), Type::Long(b)) if is_like(a, b) => Op::Long,
            // A float is given as the double of the same value.
            (Type::Int(_), Type::Float | Type::Double) => Op::IntToDouble,
            (Type::Long(_), Type::Float | Type::Double) => Op::LongToDouble,
            (Type::Float, Type::Float) => Op::Float,
            (Type::Float, Type::Double) => Op::FloatToDouble,
            (Type::Double, Type::Double) => Op::Double,
            (Type::Bytes(a), Type::Bytes(b)) if is_like(a, b) => Op::Bytes,
            (Type::String(a), Type::String(b)) if is_like(a, b) => Op::String,
            (Type::Bytes(None), Type::String(_)) => Op::BytesToString,
            (Type::String(_), Type::Bytes(None)) => Op::StringToBytes,
            (Type::Fixed { name, size }, Type::Fixed { name: wanted, size: wanted_size })
                if size == wanted_size && wanted.is_meant_by(name) =>
            {
                Op::Fixed(*size)
            }
            (Type::Enum { name, symbols, .. }, Type::Enum { name: wanted, symbols: known, default })
                if wanted.is_meant_by(name) =>
            {
                let symbol = |symbol: &String| {
                    let place = known.iter().position(|of| of == symbol).map(|at| at as u32);
                    Symbol { name: symbol.clone(), is: place.or(*default), is_default: place.is_none() }
                };
                Op::Enum(symbols.iter().map(symbol).collect())
            }
            (Type::Array(items), Type::Array(wanted)) => {
                Op::Array(self.resolve(*items, *wanted, &format!("{pointer}/-"))?)
            }
            (Type::Map(values), Type::Map(wanted)) => {
                Op::Map(self.resolve(*values, *wanted, &format!("{pointer}/-"))?)
            }
            (Type::Record { name, fields }, Type::Record { name: wanted, fields: known })
                if wanted.is_meant_by(name) =>
            {
                return self.resolve_record(of, fields, known, pointer);
            }
            _ => return Err(self.mismatch(writer, reader, pointer)),
        };
        Ok(self.add(op))
    }

    /// The reader's branch: one of the same kind and name, else the first that takes the value.
    fn resolve_into_union(
        &mut self,
        (writer, reader): (TypeId, TypeId),
        branches: &[TypeId],
        pointer: &str,
    ) -> Resolved {
        let same = branches.iter().position(|branch| self.is_same_kind(writer, *branch));
        if let Some(at) = same {
            let inner = self.resolve(writer, branches[at], pointer)?;
            return Ok(self.add(Op::Branch { at: at as u32, inner }));
        }
        for (at, branch) in branches.iter().enumerate() {
            if let Ok(inner) = self.resolve(writer, *branch, pointer) {
                return Ok(self.add(Op::Branch { at: at as u32, inner }));
            }
        }
        Err(self.mismatch(writer, reader, pointer))
    }

    fn is_same_kind(&self, writer: TypeId, reader: TypeId) -> bool {
        match (self.writer.get(writer), self.reader.get(reader)) {
            (Type::Record { name, .. }, Type::Record { name: wanted, .. })
            | (Type::Enum { name, .. }, Type::Enum { name: wanted, .. })
            | (Type::Fixed { name, .. }, Type::Fixed { name: wanted, .. }) => wanted.is_meant_by(name),
            (writer, reader) => std::mem::discriminant(writer) == std::mem::discriminant(reader),
        }
    }

    fn resolve_record(
        &mut self,
        (writer, reader): (TypeId, TypeId),
        fields: &[Field],
        known: &[Field],
        pointer: &str,
    ) -> Resolved {
        if let Some(op) = self.known.get(&(writer, Some(reader))) {
            return Ok(*op);
        }
        let id = self.add(Op::Unfinished);
        self.known.insert((writer, Some(reader)), id);
        let (mut steps, mut wrong, mut given) = (Vec::new(), Vec::new(), vec![false; known.len()]);
        for field in fields {
            let is_it = |of: &&Field| of.name == field.name || of.aliases.contains(&field.name);
            let at = known.iter().position(|of| is_it(&of)).filter(|at| !given[*at]);
            let Some(at) = at else {
                steps.push(Step::Skip { name: field.name.clone(), op: self.skip(field.of) });
                continue;
            };
            given[at] = true;
            let name = known[at].name.clone();
            match self.resolve(field.of, known[at].of, &format!("{pointer}/{name}")) {
                Ok(op) => steps.push(Step::Read { at: at as u32, name, op, is_tenant: false }),
                Err(mismatches) => wrong.extend(mismatches),
            }
        }
        for (at, field) in known.iter().enumerate().filter(|(at, _)| !given[*at]) {
            if field.default.is_some() {
                steps.push(Step::Default { at: at as u32, name: field.name.clone(), record: reader });
            } else {
                let told = self.reader.told(field.of);
                let message = format!("expected {told}, and its writer's schema has no such field");
                wrong.push(Mismatch { pointer: format!("{pointer}/{}", field.name), message });
            }
        }
        if !wrong.is_empty() {
            self.known.remove(&(writer, Some(reader)));
            return Err(wrong);
        }
        let is_next = |(place, step): (usize, &Step)| matches!(step, Step::Read { at, .. } if *at as usize == place);
        let is_in_order = steps.len() == known.len() && steps.iter().enumerate().all(is_next);
        self.ops[id] = Op::Record { steps, is_in_order };
        Ok(id)
    }

    /// What passes over a value of the writer's that the reader does not have.
    fn skip(&mut self, id: TypeId) -> OpId {
        let op = match self.writer.get(id) {
            Type::Null => Op::Null,
            Type::Boolean => Op::Boolean,
            Type::Int(_) => Op::Int,
            Type::Long(_) => Op::Long,
            Type::Float => Op::Float,
            Type::Double => Op::Double,
            Type::Bytes(_) => Op::Bytes,
            Type::String(_) => Op::String,
            Type::Fixed { size, .. } => Op::Fixed(*size),
            Type::Enum { symbols, .. } => {
                let known = |symbol: &String| Symbol { name: symbol.clone(), is: Some(0), is_default: false };
                Op::Enum(symbols.iter().map(known).collect())
            }
            Type::Array(items) => Op::Array(self.skip(*items)),
            Type::Map(values) => Op::Map(self.skip(*values)),
            Type::Union(branches) => Op::Branches(branches.iter().map(|branch| self.skip(*branch)).collect()),
            Type::Record { fields, .. } => {
                if let Some(op) = self.known.get(&(id, None)) {
                    return *op;
                }
                let at = self.add(Op::Unfinished);
                self.known.insert((id, None), at);
                let step = |field: &Field| Step::Skip { name: field.name.clone(), op: self.skip(field.of) };
                let steps = fields.iter().map(step).collect();
                self.ops[at] = Op::Record { steps, is_in_order: false };
                return at;
            }
            Type::Unfinished => Op::Unfinished,
        };
        self.add(op)
    }
}

/// What only one of them says of a primitive's meaning is no contradiction.
fn is_like(writer: &Option<String>, reader: &Option<String>) -> bool {
    writer.is_none() || reader.is_none() || writer == reader
}
