import { ComposeErrors } from './issue.js';
import { parseCompose } from './parse-compose.js';

const parse = (services: string) =>
  parseCompose({
    text: `services:\n${services}\nvolumes: { v: { name: v } }\n`,
    file: 'stack.yaml',
    env: {},
    projectDirectory: '/srv/s',
  }).stack.services;

function faultsOf(services: string): string[] {
  try {
    parse(services);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map((i) => `${i.line}:${i.column}: ${i.path}: ${i.message}`);
    throw error;
  }
  return [];
}

const volume = (readOnly: boolean) => ({ type: 'volume', source: 'v', target: '/v', readOnly });

describe('volumes_from', () => {
  it('mounts what the other mounts, and what that has from others; its own counts more, and a tmpfs is nobody else’s', () => {
    const { a, b, c } = parse(
      '  c: { image: i, volumes_from: [b], volumes: ["./own:/x"] }\n  b: { image: i, volumes_from: ["a:ro"] }\n  a: { image: i, volumes: ["v:/v", "./x:/x"], tmpfs: /t }',
    );
    expect(a?.container.mounts).toHaveLength(3);
    const tree = { type: 'tree', source: 'x', target: '/x', readOnly: true };
    expect(b?.container.mounts).toEqual([volume(true), tree]);
    expect(c?.container.mounts).toEqual([{ ...tree, source: 'own' }, volume(true)]);
    expect(b?.dependsOn).toEqual({ a: { condition: 'service_started', restart: false, required: true } });
    expect([b?.placedWith, c?.placedWith]).toEqual([undefined, undefined]);
  });

  it('puts a service beside the one whose paths of the node it mounts', () => {
    const { b } = parse('  a: { image: i, volumes: ["/srv:/srv"], scale: 2 }\n  b: { image: i, volumes_from: ["a:rw"] }');
    expect(b).toMatchObject({ placedWith: 'a', container: { mounts: [{ type: 'bind', source: '/srv' }] } });
    const all = parse('  a: { image: i, volumes: ["/srv:/srv"], deploy: { mode: global } }\n  b: { image: i, volumes_from: [a] }');
    expect(all['b']?.placedWith).toBeUndefined();
  });

  it.each([
    ['  b: { image: i, volumes_from: ["container:x"] }', '2:33: services.b.volumes_from[0]: what a container of another stack mounts'],
    ['  a: { image: i }\n  b: { image: i, volumes_from: ["a:rx"] }', '3:33: services.b.volumes_from[0]: expected SERVICE, SERVICE:ro'],
    ['  b: { image: i, volumes_from: [none] }', 'services.b.depends_on: there is no service "none"'],
    ['  a: { image: i, volumes_from: [b] }\n  b: { image: i, volumes_from: [a] }', 'these services wait for one another'],
    [
      '  a: { image: i, volumes: ["/srv:/srv"] }\n  b: { image: i, volumes_from: [a], scale: 2 }',
      '3:33: services.b.volumes_from[0]: it has more tasks than "a"',
    ],
    [
      '  a: { image: i, volumes: ["/a:/a"] }\n  b: { image: i, volumes: ["/b:/b"] }\n  c: { image: i, volumes_from: [a, b] }',
      '4:36: services.c.volumes_from[1]: it would have to be on the nodes of both "a" and "b"',
    ],
    [
      '  a: { image: i, volumes: [{ type: bind, source: ./x, target: /x, x-weft: { seed: true } }] }\n  b: { image: i, volumes_from: [a] }',
      '3:33: services.b.volumes_from[0]: "a" has a copy of its own',
    ],
  ])('%s is refused', (services, fault) => expect(faultsOf(services)).toContainEqual(expect.stringContaining(fault)));
});
