import { silentLog, type Log } from '#base/log.js';
import { systemClock } from '#base/clock.js';
import type { Hook } from '#model/container-keys.js';
import { FakeRuntime } from '#runtime/fake-runtime.js';
import type { ExecRequest } from '#runtime/runtime.js';
import { runPostStart, runPreStop } from './run-hooks.js';
import { makeTask } from './spec-kit.js';

const ID = 'b'.repeat(16);
const task = (more: { postStart?: Hook[]; preStop?: Hook[]; stopGraceMs?: number }) =>
  makeTask(ID, { container: { ...makeTask(ID).container, ...more } });

async function rig() {
  const runtime = new FakeRuntime();
  runtime.addImage('busybox');
  await runtime.create({
    id: ID,
    image: 'busybox',
    command: ['sleep', '1000'],
    env: {},
    hostname: 'box',
    labels: {},
    mounts: [],
    netnsPath: '/n',
    stdio: { stdout: '/o', stderr: '/e' },
  });
  await runtime.start(ID);
  const requests: ExecRequest[] = [];
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (_fields: object, text: string) => void warnings.push(text) };
  const exec = (request: ExecRequest) => {
    requests.push(request);
    return runtime.exec(request);
  };
  const said: string[] = [];
  const say = (_: unknown, kind: string, text: string) => void (text !== '' && said.push(`${kind}: ${text}`));
  return { deps: { runtime: { exec }, clock: systemClock, log, say }, said, requests, warnings, end: () => runtime.remove(ID) };
}

it('runs hooks one after another, as they say', async () => {
  const { deps, requests, said, end } = await rig();
  const hook = { command: ['true'], user: 'web', privileged: true, workingDir: '/w', environment: { A: '1' } };
  await runPostStart(deps, task({ postStart: [hook, { command: ['echo', 'x'] }] }));
  expect(requests[0]).toMatchObject({ containerId: ID, argv: ['true'], user: 'web', privileged: true, workingDir: '/w', env: { A: '1' } });
  expect(requests.map((r) => r.argv[0])).toEqual(['true', 'echo']);
  expect(said).toEqual(['post_start: x\n']);
  await end();
});

it('a hook after the start that fails is an error, and the last one run', async () => {
  const { deps, requests, end } = await rig();
  const failing = { command: ['sh', '-c', 'echo oops; exit 3'] };
  await expect(runPostStart(deps, task({ postStart: [failing, { command: ['true'] }] }))).rejects.toMatchObject({
    code: 'DEPLOY_FAILED',
    what: 'the post_start hook "sh -c echo oops; exit 3" exited with code 3: oops',
  });
  expect(requests).toHaveLength(1);
  await end();
});

it('hooks before the stop fail in the log alone, and have the grace period together', async () => {
  const { deps, requests, warnings, end } = await rig();
  const preStop = [{ command: ['false'] }, { command: ['sleep', '1000'] }, { command: ['true'] }];
  await runPreStop(deps, task({ preStop, stopGraceMs: 200 }));
  expect(requests.map((r) => r.argv[0])).toEqual(['false', 'sleep']);
  expect(warnings).toEqual([
    'the pre_stop hook "false" exited with code 1',
    expect.stringMatching(/^the pre_stop hook "sleep 1000" took longer than/),
    'the pre_stop hook "true" was left out: the grace period is over',
  ]);
  await end();
});
