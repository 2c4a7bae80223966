import { WeftError } from '#base/errors.js';
import { EXAMPLE } from './example-zone.js';
import { decodeNameConfig, parseUpstream } from './name-config.js';

describe('the name configuration', () => {
  it('survives its own text', () => {
    expect(decodeNameConfig(JSON.parse(JSON.stringify(EXAMPLE)))).toEqual(EXAMPLE);
  });

  it('fills in what is left out', () => {
    expect(decodeNameConfig({})).toEqual({ ttlSeconds: 5, networks: [], tasks: [], upstreams: [] });
  });

  const [front] = EXAMPLE.networks;
  it.each([
    ['no object', [], 'it is not an object'],
    ['a TTL in words', { ttlSeconds: '5' }, 'ttlSeconds'],
    ['a fraction of a port', { networks: [{ ...front, listen: { address: '10.1.0.1', port: 1.5 } }] }, 'networks.0.listen.port'],
    ['a name for an address', { networks: [{ ...front, clients: ['web'] }] }, 'networks.0.clients.0'],
    ['no subnet', { networks: [{ ...front, subnet: '10.1.0.0' }] }, 'networks.0.subnet'],
    ['an empty label', { networks: [{ ...front, records: [{ name: 'a..b', addresses: [] }] }] }, 'networks.0.records.0.name'],
    ['the root as a record', { networks: [{ ...front, records: [{ name: '.', addresses: [] }] }] }, 'networks.0.records.0.name'],
    ['a label too long', { networks: [{ ...front, records: [{ name: 'a'.repeat(64), addresses: [] }] }] }, 'networks.0.records.0.name'],
    ['internal left out', { networks: [{ ...front, internal: undefined }] }, 'networks.0.internal'],
    ['a task without an id', { tasks: [{ addresses: [] }] }, 'tasks.0.id'],
    ['an upstream by name', { upstreams: ['dns.example.com'] }, 'upstreams.0'],
  ])('refuses %s, and says where', (_what, value, where) => {
    expect(() => decodeNameConfig(value)).toThrow(WeftError);
    expect(() => decodeNameConfig(value)).toThrow(where);
  });

  it.each([
    ['192.0.2.53', { address: '192.0.2.53', port: 53 }],
    ['192.0.2.53:5353', { address: '192.0.2.53', port: 5353 }],
    ['fd00::53', { address: 'fd00::53', port: 53 }],
    ['[fd00::53]:5353', { address: 'fd00::53', port: 5353 }],
    ['fe80::1%eth0', { address: 'fe80::1%eth0', port: 53 }],
    ['192.0.2.53:0', undefined],
    ['192.0.2.53:65536', undefined],
    ['192.0.2', undefined],
    ['', undefined],
  ])('reads %j as an upstream', (text, upstream) => {
    expect(parseUpstream(text)).toEqual(upstream);
  });
});
