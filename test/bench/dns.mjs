/**
 * Answers a second from one name server (the built process), asked by dnsperf on loopback, beside dnsmasq and aardvark-dns where
 * they are installed. All get the same names, the same questions, and turns in the same run, so that the ratios hold on a
 * noisy machine. `node test/bench/dns.mjs` runs it alone.
 */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { daemon, has, median, printRows, sh, until } from './lab.mjs';

const ADDRESS = '127.53.0.1';
const NAMES = Array.from({ length: 100 }, (_, i) => ({ name: `web${i}`, address: `10.1.0.${i + 1}` }));
const ROUNDS = 5;
const SECONDS = 2;
/** As the agent starts it. */
const NODE_FLAGS = ['--max-semi-space-size=2', '--v8-pool-size=1'];
const AARDVARK = '/usr/lib/podman/aardvark-dns';

/** Each: is it there, and how is it started so that it answers NAMES on ADDRESS:port. */
const SERVERS = [
  { name: 'weft name server', port: 20_053, isThere: () => true, start: startWeft },
  { name: 'dnsmasq', port: 20_054, isThere: () => has('dnsmasq'), start: startDnsmasq },
  { name: 'aardvark-dns', port: 20_055, isThere: () => existsSync(AARDVARK), start: startAardvark },
];

async function startWeft(port, temp) {
  const network = {
    id: 'bench',
    name: 'bench_default',
    stack: 'bench',
    internal: false,
    listen: { address: ADDRESS, port },
    subnet: '10.1.0.0/20',
    nodeAddresses: [],
    clients: ['127.0.0.1', ADDRESS],
    records: NAMES.map(({ name, address }) => ({ name, addresses: [address] })),
    ptr: [],
  };
  const state = join(temp, 'names.json');
  await writeFile(state, JSON.stringify({ networks: [network] }));
  const main = resolve('dist/apps/agent/name-server/main.js');
  return daemon(process.execPath, [...NODE_FLAGS, main, '--control', join(temp, 'names.sock'), '--state', state], join(temp, 'weft.log'));
}

async function startDnsmasq(port, temp) {
  const hosts = join(temp, 'hosts');
  await writeFile(hosts, NAMES.map(({ name, address }) => `${address} ${name}\n`).join(''));
  const flags = [
    '--keep-in-foreground',
    '--conf-file=/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--bind-interfaces',
    '--local-ttl=5',
    '--user=root',
  ];
  return daemon(
    'dnsmasq',
    [...flags, `--addn-hosts=${hosts}`, `--listen-address=${ADDRESS}`, `--port=${port}`, '--pid-file='],
    join(temp, 'dnsmasq.log'),
  );
}

/** aardvark-dns reads one file a network: the gateways on the first line, then a container a line. */
async function startAardvark(port, temp) {
  const config = join(temp, 'aardvark');
  await mkdir(config);
  const containers = NAMES.map(({ name, address }, i) => `${String(i).padStart(64, '0')} ${address}  ${name}\n`);
  await writeFile(join(config, 'bench'), [`${ADDRESS}\n`, `${'f'.repeat(64)} 127.0.0.1  asker\n`, ...containers].join(''));
  return daemon(AARDVARK, ['--config', config, '--port', String(port), 'run'], join(temp, 'aardvark.log'));
}

/** Answers a second, all of them NOERROR, or an error. */
function measure(port, questions) {
  const out = sh('dnsperf', ['-s', ADDRESS, '-p', String(port), '-d', questions, '-l', String(SECONDS), '-c', '4', '-q', '100', '-x', '0']);
  const qps = Number(/Queries per second:\s+([\d.]+)/.exec(out)?.[1]);
  const noError = /NOERROR \d+ \(100\.00%\)/.test(out);
  if (!qps || !noError) throw new Error(`dnsperf met other answers than names:\n${out}`);
  return qps;
}

const answers = (port) =>
  sh('dig', ['+short', '+tries=1', '+time=1', '-p', String(port), `@${ADDRESS}`, NAMES[0].name]).trim() === NAMES[0].address;

/** Rows for printRows; ratios are to the name server's own figure. */
export async function benchDns() {
  const temp = await mkdtemp(join(tmpdir(), 'weft-bench-dns-'));
  const running = [];
  try {
    const questions = join(temp, 'questions');
    await writeFile(questions, NAMES.map(({ name }) => `${name} A\n`).join(''));
    for (const server of SERVERS.filter((s) => s.isThere())) {
      const process = await server.start(server.port, temp);
      running.push({ ...server, process, figures: [] });
      await until(10_000, 50, () => answers(server.port));
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const { port, figures } of running) figures.push(measure(port, questions));
    }
  } finally {
    for (const { process } of running) await process.stop();
    await rm(temp, { recursive: true, force: true });
  }
  const own = median(running[0].figures);
  const rows = running.map(({ name, figures }, i) => {
    const [value, best] = [median(figures), Math.max(...figures)];
    const note = `median of ${ROUNDS}, best ${Math.round(best)}${i === 0 ? '' : '; ratio: weft to it'}`;
    return { name, value: Math.round(value), unit: 'answers/s', ...(i === 0 ? {} : { ratio: own / value }), note };
  });
  const missing = SERVERS.filter((s) => !s.isThere()).map(({ name }) => ({ name, value: 'not installed', unit: '' }));
  return [...rows, ...missing];
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  printRows('DNS: answers a second from one name server', await benchDns());
