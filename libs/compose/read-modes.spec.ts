import { parseCompose } from './parse-compose.js';
import { ComposeErrors } from './issue.js';

const parse = (text: string) => parseCompose({ text, file: 'c.yaml', env: {}, projectDirectory: '/p', projectName: 'p' }).stack;

function faults(text: string): string[] {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map((i) => `${i.line}:${i.column} ${i.message}`);
    throw error;
  }
  return [];
}

const service = (...lines: string[]) =>
  ['services:', '  db:', '    image: busybox', '  web:', '    image: busybox', ...lines.map((l) => `    ${l}`)].join('\n');

describe('network_mode', () => {
  it.each([
    ['host', { kind: 'host' }],
    ['none', { kind: 'none' }],
    ['bridge', { kind: 'bridge' }],
    ['"service:db"', { kind: 'service', service: 'db' }],
    ['"container:other-api-1"', { kind: 'container', container: 'other-api-1' }],
  ])('%s', (text, mode) => {
    const web = parse(service(`network_mode: ${text}`)).services['web'];
    expect(web?.networkMode).toEqual(mode);
    expect(web?.networks).toEqual({});
  });

  it.each([
    ['an unknown word', ['network_mode: hots'], '6:19 expected bridge, host, none, service:NAME or container:NAME, found "hots"'],
    ['a service that is not there', ['network_mode: "service:nope"'], 'nope'],
    ['ports in the network of the node', ['network_mode: host', 'ports: ["8080:80"]'], 'cannot publish ports'],
    ['ports without a network', ['network_mode: none', 'ports: ["8080:80"]'], 'cannot publish ports'],
    ['links in a shared network', ['network_mode: "service:db"', 'links: ["db:x"]'], 'cannot have links'],
    ['more replicas than the owner', ['network_mode: "service:db"', 'scale: 2'], '6:19 it has 2 replicas, and shares the network of "db"'],
    ['itself', ['network_mode: "service:web"'], 'web'],
  ])('refuses %s, at its place', (_what, lines, message) => {
    expect(faults(service(...lines)).join('\n')).toContain(message);
  });

  it('refuses a circle, and the network of one that is in the network of its node', () => {
    const mode = (a: string, b: string) =>
      `services:\n  a:\n    image: x\n    network_mode: ${a}\n  b:\n    image: x\n    network_mode: ${b}\n`;
    expect(faults(mode('"service:b"', '"service:a"')).length).toBeGreaterThan(0);
    expect(faults(mode('"service:b"', 'host'))).toEqual(['4:19 the service "b" lives in the network of its node']);
  });
});

describe('links', () => {
  it('are services of the stack, and containers outside of it, under other names', () => {
    const web = parse(service('links: [db, "db:database"]', 'external_links: ["other-api-1:api"]')).services['web'];
    expect(web?.links).toEqual([
      { service: 'db', alias: 'db' },
      { service: 'db', alias: 'database' },
      { container: 'other-api-1', alias: 'api' },
    ]);
  });

  it.each([
    ['links: ["db:a b"]', 'SERVICE:ALIAS, found "db:a b"'],
    ['links: ["db:a:b"]', 'SERVICE:ALIAS, found "db:a:b"'],
    ['external_links: ["x y"]', 'CONTAINER:ALIAS, found "x y"'],
    ['links: ["nope"]', 'nope'],
  ])('refuses %s', (line, message) => {
    expect(faults(service(line)).join('\n')).toContain(message);
  });
});
