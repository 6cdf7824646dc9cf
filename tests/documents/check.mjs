// The official parser on an AsyncAPI document: `node check.mjs FILE`. Every diagnostic is a failure, whatever its severity. The packages
// are found from the working directory, where .ci/asyncapi installs them.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(process.cwd() + '/');
const { Parser } = require('@asyncapi/parser');
const { AvroSchemaParser } = require('@asyncapi/avro-schema-parser');

const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
const { document, diagnostics } = await parser.parse(readFileSync(process.argv[2], 'utf8'));
for (const { severity, code, path, message } of diagnostics) {
  console.error(`severity ${severity}: ${code} at ${path.join('/')}: ${message}`);
}
if (!document || diagnostics.length > 0) {
  console.error(`FAILED: the parser has ${diagnostics.length} things to say of ${process.argv[2]}`);
  process.exit(1);
}
const count = (of) => of.all().length;
if (count(document.channels()) === 0 || count(document.operations()) === 0 || count(document.messages()) === 0) {
  console.error('FAILED: the document has no channels, operations or messages');
  process.exit(1);
}
console.log(
  `the parser of AsyncAPI accepts it: ${count(document.servers())} servers, ${count(document.channels())} channels, ` +
    `${count(document.operations())} operations, ${count(document.allMessages())} messages, no diagnostic`,
);
