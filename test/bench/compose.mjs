/** 1,000 services from ten included files, with anchors and interpolation: how long to resolve, and to plan; beside a bare YAML parse of the same text. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { median } from './lab.mjs';

const FILES = 10;
const SERVICES_PER_FILE = 100;
const ROUNDS = 5;

function included(file) {
  const services = Array.from({ length: SERVICES_PER_FILE }, (_, i) => {
    const n = file * SERVICES_PER_FILE + i;
    return `  service-${n}:
    <<: *common
    hostname: "h-\${SITE:-here}-${n}"
    command: ["serve", "--port", "${8000 + i}", "--peer=\${PEER:-service-0}"]
    environment:
      <<: *env
      NUMBER: "${n}"
      URL: http://\${HOST:-localhost}:${n}/path
    ports: ["${10_000 + n}:80"]
    volumes: ["data-${file}:/data"]
    deploy: { replicas: 2, labels: { tier: web } }
`;
  });
  return `x-common: &common
  image: \${REGISTRY:-docker.io/library}/app:\${TAG:-1.0}
  networks: [front]
  healthcheck: { test: curl -f localhost, interval: 30s, retries: 3 }
x-env: &env { LOG: "\${LOG:-info}", REGION: eu }
services:
${services.join('')}networks: { front: {} }
volumes: { data-${file}: {} }
`;
}

const texts = new Map(Array.from({ length: FILES }, (_, i) => [`/bench/part-${i}.yaml`, included(i)]));
const main = `name: bench\ninclude: [${[...texts.keys()].map((path) => path.slice('/bench/'.length)).join(', ')}]\nservices: {}\n`;

/** In a process that has read and planned nothing before, as `ctl` is. */
async function once() {
  const { loadModel } = await import('../../dist/libs/compose/load-model.js');
  const { readStack } = await import('../../dist/libs/compose/parse-compose.js');
  const { planStack } = await import('../../dist/libs/planner/plan-stack.js');
  const { World } = await import('../../dist/libs/planner/spec-kit.js');
  const world = new World(['a', 'b', 'c'], 20);
  const began = performance.now();
  const read = (path) => (texts.has(path) ? { text: texts.get(path) } : undefined);
  const files = [{ path: '/bench/compose.yaml', shown: 'compose.yaml', text: main }];
  const { stack } = readStack(loadModel({ files, projectDirectory: '/bench', read, env: { TAG: '2' } }));
  const resolved = performance.now();
  const { steps } = planStack(world.model, stack, world.newId, world.now);
  const planned = performance.now();
  if (steps.filter((step) => step.kind === 'service' && step.action === 'create').length !== FILES * SERVICES_PER_FILE)
    throw new Error('not all services were planned');
  for (const text of texts.values()) parseAllDocuments(text);
  return { resolveMs: resolved - began, planMs: planned - resolved, parseMs: performance.now() - planned };
}

export async function benchCompose() {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), '--once'], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout);
  });
  const of = (key) => median(rounds.map((round) => round[key]));
  const whole = median(rounds.map((round) => round.resolveMs + round.planMs));
  return [
    {
      name: '1,000 services: resolved',
      value: of('resolveMs'),
      unit: 'ms',
      ratio: of('resolveMs') / of('parseMs'),
      note: 'to a bare parse (yaml)',
    },
    { name: '1,000 services: planned', value: of('planMs'), unit: 'ms' },
    { name: '1,000 services: both', value: whole, unit: 'ms', note: 'aim: 1,000 ms' },
  ];
}

if (process.argv[2] === '--once') console.log(JSON.stringify(await once()));
