/** Connects to ADDRESS PORT, and says how that went as JSON. A process of its own: it is run inside a task's network. */
import { connect } from 'node:net';

const TIMEOUT_MS = 3_000;
const [address = '', port = ''] = process.argv.slice(2);
const began = performance.now();
const socket = connect({ host: address, port: Number(port), timeout: TIMEOUT_MS });
const end = (why: string): void => {
  process.stdout.write(JSON.stringify({ why, ms: performance.now() - began }));
  socket.destroy();
  process.exit(0);
};
socket.once('connect', () => end(''));
socket.once('timeout', () => end(`no answer within ${TIMEOUT_MS / 1000} s`));
socket.once('error', (error: NodeJS.ErrnoException) => end(error.code === 'ECONNREFUSED' ? 'the connection was refused' : error.message));
