import { parseCompose } from '#compose/parse-compose.js';
import { loadModel } from '#compose/load-model.js';
import { readStack } from '#compose/parse-compose.js';
import { detachFilter, readDetachKeys } from './detach-keys.js';
import { oneOffKey, oneOffStack, overrideText, type OneOffWish, type Overrides } from './one-off.js';

const FILE = `
name: shop
services:
  web:
    image: app
    command: [serve]
    environment: { A: one }
    container_name: shopweb
    restart: always
    ports: ["8080:80"]
    depends_on: { db: { condition: service_healthy, restart: true } }
    networks: { default: { aliases: [www], ipv4_address: 10.1.0.9 } }
    deploy: { placement: { constraints: [node.role == worker] } }
  db: { image: db, ports: ["5432:5432"] }
networks: { default: { ipam: { config: [{ subnet: 10.1.0.0/24 }] } } }
`;
const WISH: OneOffWish = {
  of: 'web',
  mark: 'abc',
  remove: false,
  attach: false,
  tty: false,
  stdin: false,
  alone: false,
  aliases: false,
  ports: false,
};
const stackOf = (overrides: Overrides = { command: [] }) => {
  const override = { path: '/flags', shown: '<flags>', text: overrideText('web', overrides) };
  const files = [{ path: '/c.yaml', shown: 'c.yaml', text: FILE }, ...(override.text === '' ? [] : [override])];
  return readStack(loadModel({ files, projectDirectory: '/', env: { HOME: '/root' } })).stack;
};
const oneOff = (wish: Partial<OneOffWish> = {}, overrides?: Overrides) => {
  const stack = oneOffStack(stackOf(overrides), { ...WISH, ...wish });
  return { names: Object.keys(stack.services), service: stack.services['web-run-abc'] };
};

describe('a service as a one-off', () => {
  it('runs once, as its service is made, with what it depends on', () => {
    const { names, service } = oneOff();
    expect(names).toEqual(['db', 'web-run-abc']);
    expect(service).toMatchObject({
      oneOff: { of: 'web' },
      mode: 'replicated-job',
      replicas: 1,
      restart: { condition: 'none' },
      endpointMode: 'dnsrr',
      ports: [],
      networks: { default: { aliases: [] } },
      placement: { constraints: ['node.role == worker'] },
      container: { image: 'app', command: ['serve'], environment: { A: 'one' }, containerName: 'shop-web-run-abc', tty: false },
      dependsOn: { db: { condition: 'service_healthy', restart: false } },
    });
    expect(service?.networks['default']).not.toHaveProperty('ipv4');
    expect(service?.container.labels).toMatchObject({ 'com.docker.compose.oneoff': 'True' });
  });

  it('has what is asked for', () => {
    const { names, service } = oneOff({ alone: true, aliases: true, ports: true, name: 'mine', remove: true, attach: true, tty: true });
    expect(names).toEqual(['web-run-abc']);
    expect(service).toMatchObject({
      oneOff: { of: 'web', remove: true, attach: true },
      ports: [{ published: 8080 }],
      networks: { default: { aliases: ['www', 'web'] } },
      container: { containerName: 'mine', tty: true },
    });
    expect(service).not.toHaveProperty('dependsOn');
    expect(() => oneOff({ of: 'nothing' })).toThrow(/no service nothing/);
  });

  it('has a key of its own, however long that of its service is', () => {
    expect(oneOffKey({ of: 'w'.repeat(63), mark: 'abc' })).toHaveLength(63);
    expect(oneOffKey({ of: 'w'.repeat(63), mark: 'abc' })).toMatch(/^w+-run-abc$/);
  });
});

describe('flags as a compose file', () => {
  it('mean what they mean there, and are interpolated once', () => {
    const { service } = oneOff(
      { ports: true },
      {
        command: ['echo', '$HOME'],
        entrypoint: 'sh -c "a b"',
        env: ['B=$HOME', 'HOME'],
        label: ['x=y'],
        user: '5',
        workdir: '/tmp',
        volume: ['/data:/d:ro'],
        publish: ['9090:90'],
        capAdd: ['NET_ADMIN'],
        capDrop: ['CHOWN'],
      },
    );
    expect(service?.ports).toMatchObject([{ published: 9090, target: 90 }]);
    expect(service?.container).toMatchObject({
      command: ['echo', '$HOME'],
      entrypoint: ['sh', '-c', 'a b'],
      environment: { A: 'one', B: '$HOME', HOME: '/root' },
      user: '5',
      workingDir: '/tmp',
      mounts: [{ type: 'bind', source: '/data', target: '/d', readOnly: true }],
      capAdd: ['NET_ADMIN'],
      capDrop: ['CHOWN'],
    });
    expect(oneOff({}, { command: [], entrypoint: '' }).service?.container.entrypoint).toEqual([]);
    expect(overrideText('web', { command: [] })).toBe('');
  });

  it('that are wrong are told as such', () => {
    expect(() => oneOff({}, { command: [], publish: ['x:y'] })).toThrow(/<flags>:3/);
    expect(() => parseCompose({ text: FILE, file: 'c.yaml', projectDirectory: '/' })).not.toThrow();
  });
});

describe('the keys that let go', () => {
  const filter = (keys: string, ...chunks: string[]) => {
    const pass = detachFilter(readDetachKeys(keys));
    return chunks.map((chunk) => pass(Buffer.from(chunk))?.toString());
  };

  it('are kept back, and passed on when others follow', () => {
    expect(filter('ctrl-p,ctrl-q', 'ab', '\x10\x11')).toEqual(['ab', undefined]);
    expect(filter('ctrl-p,ctrl-q', 'a\x10', '\x11')).toEqual(['a', undefined]);
    expect(filter('ctrl-p,ctrl-q', '\x10', '\x10', 'x')).toEqual(['', '\x10', '\x10x']);
    expect(filter('x', 'ax')).toEqual([undefined]);
  });

  it.each(['ctrl-', 'ctrl-1', 'ab', ''])('refuses %j', (keys) => {
    expect(() => readDetachKeys(keys)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});
