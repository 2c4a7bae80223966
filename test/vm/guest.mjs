/**
 * Runs in a virtual machine: carries out commands that come over a serial port of virtio, one JSON document a line, any number at
 * a time. No network takes part in it, so the tests may do to the network of the machine what they like.
 *
 *   {"id": 1, "argv": ["ip", "link"], "input": "", "env": {}}  →  {"id": 1, "code": 0, "stdout": "…", "stderr": "…"}
 */
import { spawn } from 'node:child_process';
import { createReadStream, writeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';

const port = openSync(process.argv[2], 'r+');
const say = (message) => {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
  for (let at = 0; at < bytes.length;) at += writeSync(port, bytes, at);
};

function run({ id, argv, input = '', env = {} }) {
  const child = spawn(argv[0], argv.slice(1), { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  const out = { stdout: [], stderr: [] };
  for (const name of ['stdout', 'stderr']) child[name].on('data', (chunk) => out[name].push(chunk));
  const texts = () => ({ stdout: Buffer.concat(out.stdout).toString(), stderr: Buffer.concat(out.stderr).toString() });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  child.once('error', (error) => say({ id, code: 127, stdout: '', stderr: String(error) }));
  // What a command leaves in the background may hold its pipes: the end of the command itself counts, and what it said until then.
  child.once('exit', (code) => setTimeout(() => say({ id, code: code ?? 137, ...texts() }), 20));
}

createInterface({ input: createReadStream('', { fd: port, autoClose: false }) }).on('line', (line) => run(JSON.parse(line)));
say({ id: 0, code: 0, stdout: 'ready', stderr: '' });
