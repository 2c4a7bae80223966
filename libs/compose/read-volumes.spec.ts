import { ComposeErrors } from './issue.js';
import { parseCompose } from './parse-compose.js';

const parse = (volume: string) =>
  parseCompose({
    text: `services:\n  web: { image: i, volumes: ["v:/v"] }\nvolumes:\n  v: ${volume}\n`,
    file: 'stack.yaml',
    env: {},
    projectDirectory: '/srv/s',
  }).stack.volumes['v'];

function faultsOf(volume: string): string[] {
  try {
    parse(volume);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map((i) => `${i.line}:${i.column}: ${i.path}: ${i.message}`);
    throw error;
  }
  return [];
}

describe('driver_opts of volumes', () => {
  it.each([
    [
      '{ driver: local, driver_opts: { type: nfs, o: "addr=10.40.0.199,nolock,soft,rw", device: ":/docker/example" } }',
      { type: 'nfs', device: ':/docker/example', options: ['addr=10.40.0.199', 'nolock', 'soft', 'rw'] },
    ],
    ['{ driver_opts: { type: nfs4, device: "nas:/x" } }', { type: 'nfs4', device: 'nas:/x', options: [] }],
    [
      '{ driver_opts: { type: tmpfs, o: "size=100m,uid=1000", device: tmpfs } }',
      { type: 'tmpfs', device: 'tmpfs', options: ['size=100m', 'uid=1000'] },
    ],
    ['{ driver_opts: { type: tmpfs } }', { type: 'tmpfs', device: 'tmpfs', options: [] }],
    ['{ driver_opts: { type: none, o: bind, device: /srv/x } }', { type: 'none', device: '/srv/x', options: ['bind'] }],
    ['{ driver_opts: { o: "bind,ro", device: /srv/x } }', { type: 'none', device: '/srv/x', options: ['bind', 'ro'] }],
    ['{ driver_opts: { type: bind, o: bind, device: /srv/x } }', { type: 'none', device: '/srv/x', options: ['bind'] }],
    ['{ driver_opts: {} }', undefined],
    ['{ driver_opts: }', undefined],
  ])('%s', (volume, options) => expect(parse(volume)?.options).toEqual(options));

  it.each([
    ['{ driver_opts: { type: nfs, device: ":/x" } }', '4:8: volumes.v.driver_opts: "o": nothing says where the server is'],
    [
      '{ driver_opts: { type: nfs, device: x, o: addr=1.2.3.4 } }',
      '4:42: volumes.v.driver_opts.device: it has to be what the server exports',
    ],
    [
      '{ driver_opts: { type: nfs, o: "addr=1.2.3.4,bgg", device: ":/x" } }',
      '4:37: volumes.v.driver_opts.o: "bgg" is not an option of nfs',
    ],
    [
      '{ driver_opts: { type: cifs, o: "username=a,password=b", device: //nas/x } }',
      '4:29: volumes.v.driver_opts.type: Weft mounts no cifs',
    ],
    [
      '{ driver_opts: { type: ext4, device: /dev/sda1 } }',
      '4:29: volumes.v.driver_opts.type: Weft mounts no ext4: a block device is of one node',
    ],
    ['{ driver_opts: { type: overlay } }', '4:29: volumes.v.driver_opts.type: expected one of nfs, nfs4, tmpfs, none'],
    ['{ driver_opts: { device: /srv/x } }', '4:8: volumes.v.driver_opts: nothing says what is mounted'],
    ['{ driver_opts: { type: none, device: /srv/x } }', '4:8: volumes.v.driver_opts: "o": the type none mounts nothing'],
    ['{ driver_opts: { typ: none } }', '4:23: volumes.v.driver_opts.typ: "typ" is not an option of the driver local'],
    ['{ driver_opts: { size: 10G } }', '4:23: volumes.v.driver_opts.size: Weft refuses the option "size"'],
    ['{ external: true, driver_opts: { type: tmpfs } }', '4:24: volumes.v.driver_opts: the volume is external'],
  ])('%s is refused', (volume, fault) => expect(faultsOf(volume)).toContainEqual(expect.stringContaining(fault)));
});
