import { parseOptions } from './options.js';

const base = ['--data-dir', '/d', '--advertise', '192.0.2.1'];

describe('the command line of the controller', () => {
  it('has defaults, and listens where it is reached', () => {
    expect(parseOptions(base)).toMatchObject({
      name: 'controller',
      listen: '192.0.2.1',
      port: 7700,
      joinPort: 7701,
      etcdEndpoints: [],
      pools: ['10.128.0.0/9'],
      subnetPrefix: 20,
      vxlanPort: 4789,
      dnsTtlSeconds: 5,
      deadAfterMs: 4_000,
    });
    expect(parseOptions([...base, '--listen', '127.0.0.1', '--etcd-endpoints', 'http://127.0.0.1:1,http://127.0.0.1:2'])).toMatchObject({
      listen: '127.0.0.1',
      etcdEndpoints: ['http://127.0.0.1:1', 'http://127.0.0.1:2'],
    });
    expect(parseOptions([...base, '--vxlan-port', '8472', '--dns-ttl', '30'])).toMatchObject({ vxlanPort: 8472, dnsTtlSeconds: 30 });
    expect(parseOptions([...base, '--dead-after', '30'])).toMatchObject({ deadAfterMs: 30_000 });
    expect(parseOptions(['--help'])).toBeUndefined();
  });

  it.each([
    [[], '--data-dir is missing'],
    [['--data-dir', '/d'], '--advertise is missing'],
    [['--data-dir', '/d', '--advertise', '0.0.0.0'], 'not an address of this host'],
    [['--data-dir', '/d', '--advertise', 'host'], 'not an address of this host'],
    [[...base, '--port', '70000'], '--port 70000 is not a port'],
    [[...base, '--pools', '10.1.2.3/8'], '--pools 10.1.2.3/8 is not valid'],
    [[...base, '--subnet-prefix', '31'], '--subnet-prefix 31'],
    [[...base, '--vxlan-port', '53'], '--vxlan-port 53 is not free'],
    [[...base, '--vxlan-port', '7706'], '--vxlan-port 7706 is not free'],
    [[...base, '--vxlan-port', 'x'], '--vxlan-port x is not a port'],
    [[...base, '--dns-ttl=-1'], '--dns-ttl -1 is not between 0 and 86400'],
    [[...base, '--dns-ttl', '5s'], '--dns-ttl 5s is not between'],
    [[...base, '--dead-after', '3'], '--dead-after 3 is not between 4 and 3600 seconds'],
    [[...base, '--dead-after', '3601'], '--dead-after 3601 is not between'],
    [[...base, '--dead-after', '4.5'], '--dead-after 4.5 is not between'],
    [[...base, '--log-level', 'loud'], '--log-level loud'],
    [[...base, '--nonsense'], 'the command line is not valid'],
  ])('refuses %j', (argv, what) => {
    expect(() => parseOptions(argv)).toThrow(expect.objectContaining({ code: 'USAGE', exit: 2, what: expect.stringContaining(what) }));
  });
});
