import type { Service } from '#model/stack.js';
import { parseCompose } from './parse-compose.js';
import { faultsOf as faults, serviceOf as parse } from './spec-kit.js';

describe('healthcheck', () => {
  it('is taken over', () => {
    expect(
      parse('healthcheck: { test: curl -f localhost, interval: 1m30s, timeout: 10s, retries: 3, start_period: 40s, start_interval: 5s }')
        .container.healthcheck,
    ).toEqual({
      test: ['CMD-SHELL', 'curl -f localhost'],
      intervalMs: 90_000,
      timeoutMs: 10_000,
      retries: 3,
      startPeriodMs: 40_000,
      startIntervalMs: 5_000,
    });
    expect(parse('healthcheck: { test: [CMD, wget, -q, "http://localhost"] }').container.healthcheck).toEqual({
      test: ['CMD', 'wget', '-q', 'http://localhost'],
    });
  });

  it('that only changes a time leaves the test to the image', () => {
    expect(parse('healthcheck: { interval: 5s }').container.healthcheck).toEqual({ intervalMs: 5_000 });
  });

  it.each([['{ disable: true }'], ['{ test: [NONE] }'], ['{ test: [CMD, "true"], disable: true }']])('%s is none', (text) =>
    expect(parse(`healthcheck: ${text}`).container.healthcheck).toEqual({ test: ['NONE'] }),
  );

  it.each([
    ['{ test: [curl, x] }', /expected CMD, CMD-SHELL or NONE/],
    ['{ test: [CMD] }', /names no command/],
    ['{ test: [CMD-SHELL, a, b] }', /takes one line/],
    ['{ test: x, interval: 0s }', /a time like/],
    ['{ test: x, retries: 0 }', /retries/],
  ])('%s is refused', (text, fault) => expect(faults(`healthcheck: ${text}`).join()).toMatch(fault));
});

describe('restart', () => {
  it.each([
    ['"no"', { condition: 'none' }],
    ['always', { condition: 'any' }],
    ['unless-stopped', { condition: 'any' }],
    ['on-failure', { condition: 'on-failure' }],
    ['on-failure:3', { condition: 'on-failure', maxAttempts: 3 }],
  ])('%s', (text, policy) => expect(parse(`restart: ${text}`).restart).toEqual(policy));

  it('is nothing where nothing is said, and deploy.restart_policy counts more', () => {
    expect(parse()).not.toHaveProperty('restart');
    expect(
      parse('restart: always', 'deploy: { restart_policy: { condition: on-failure, delay: 5s, max_attempts: 3, window: 2m } }').restart,
    ).toEqual({ condition: 'on-failure', delayMs: 5_000, maxAttempts: 3, windowMs: 120_000 });
    expect(parse('deploy: { restart_policy: {} }').restart).toEqual({ condition: 'any' });
  });

  it.each([['restart: sometimes'], ['restart: on-failure:x'], ['deploy: { restart_policy: { condition: never } }']])(
    '%s is refused',
    (line) => expect(faults(line)).toHaveLength(1),
  );
});

describe('deploy', () => {
  it('update_config and rollback_config are taken over, with their defaults', () => {
    const { update, rollback } = parse(
      'deploy: { update_config: { parallelism: 2, delay: 10s, order: start-first, failure_action: rollback, max_failure_ratio: 0.2, monitor: 1m }, rollback_config: {} }',
    );
    expect(update).toEqual({
      parallelism: 2,
      delayMs: 10_000,
      order: 'start-first',
      onFailure: 'rollback',
      maxFailureRatio: 0.2,
      monitorMs: 60_000,
    });
    expect(rollback).toEqual({
      parallelism: 1,
      delayMs: 0,
      order: 'stop-first',
      onFailure: 'pause',
      maxFailureRatio: 0,
      monitorMs: 5_000,
    });
  });

  it('a job is tried again until it ends well, unless the file says no', () => {
    expect(parse('deploy: { mode: replicated-job, replicas: 2 }')).toMatchObject({
      mode: 'replicated-job',
      replicas: 2,
      restart: { condition: 'on-failure' },
    });
    expect(parse('deploy: { mode: replicated-job, restart_policy: { condition: none } }').restart).toEqual({ condition: 'none' });
    expect(parse('deploy: { mode: global-job }')).toMatchObject({ mode: 'global-job', restart: { condition: 'on-failure' } });
    expect(parse('deploy: { mode: replicated }')).not.toHaveProperty('mode');
  });

  it.each([
    ['deploy: { mode: replicated-job, restart_policy: { condition: any } }', /cannot be "any"/],
    ['deploy: { mode: global-job, restart_policy: { condition: any } }', /cannot be "any"/],
    ['deploy: { mode: global-job, replicas: 3 }', /whatever the replicas/],
    ['deploy: { rollback_config: { failure_action: rollback } }', /cannot be rolled back/],
    ['deploy: { update_config: { order: sideways } }', /order/],
    ['deploy: { update_config: { max_failure_ratio: 2 } }', /max_failure_ratio/],
  ])('%s is refused', (line, fault) => expect(faults(line).join()).toMatch(fault));
});

describe('x-weft of a service', () => {
  it('says what becomes of it on a node that is cut off', () => {
    expect(parse('x-weft: { on-partition: stop }').onPartition).toBe('stop');
    expect(parse('x-weft: { on-partition: keep }').onPartition).toBe('keep');
    expect(parse('x-weft:')).toEqual(parse());
  });

  it.each([
    ['x-weft: { on-partition: pause }', /^5:\d+: services\.web\.x-weft\.on-partition: .*expected one of keep, stop/],
    ['x-weft: { on_partition: stop }', /"on_partition" is not a key of x-weft of a service/],
    ['x-weft: stop', /x-weft/],
  ])('%s is refused', (line, fault) => expect(faults(line).join()).toMatch(fault));
});

describe('depends_on', () => {
  const readTwo = (web: string, db: string): Service =>
    parseCompose({
      text: `name: s\nservices:\n  web:\n    image: busybox\n${web}\n  db:\n    image: busybox\n${db}\n`,
      file: 'stack.yaml',
      env: {},
      projectDirectory: '/srv/s',
    }).stack.services['web'] as Service;

  it('is taken over in both forms', () => {
    expect(readTwo('    depends_on: [db]', '').dependsOn).toEqual({
      db: { condition: 'service_started', restart: false, required: true },
    });
    expect(readTwo('    depends_on: { db: { condition: service_healthy, restart: true, required: false } }', '').dependsOn).toEqual({
      db: { condition: 'service_healthy', restart: true, required: false },
    });
  });

  it('that leads in a circle, or nowhere, is refused with its place', () => {
    expect(() => readTwo('    depends_on: [db]', '    depends_on: [web]')).toThrow(/stack\.yaml:\d+:\d+.*wait for one another/);
    expect(faults('depends_on: [nobody]').join()).toMatch(/^5:\d+: services\.web\.depends_on.*nobody/);
  });
});
