import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { containerFiles, writeContainerFiles } from './container-files.js';
import { makeTask, withTempDir } from './spec-kit.js';

const endpoint = { networkId: 'abcdef01', ipv4: '10.1.0.7', mac: '02:42:0a:01:00:07', aliases: [] };
const task = makeTask('aaaaaaaa', { endpoints: [endpoint, { ...endpoint, networkId: 'abcdef02', ipv4: '10.2.0.9' }] });

describe('the files of a task', () => {
  it('name the resolver, the task itself on every network, and localhost', () => {
    expect(containerFiles(task)).toEqual({
      'resolv.conf': 'nameserver 127.0.0.11\noptions ndots:0\n',
      hosts: '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.0.7\tshop-web-1\n10.2.0.9\tshop-web-1\n',
      hostname: 'shop-web-1\n',
    });
  });

  it('use the host name the user gave, and keep the task name', () => {
    const named = makeTask('aaaaaaaa', { endpoints: [endpoint], container: { ...task.container, hostname: 'front' } });
    expect(containerFiles(named).hostname).toBe('front\n');
    expect(containerFiles(named).hosts).toContain('10.1.0.7\tfront shop-web-1\n');
  });

  it('carry what the service says of search domains, options, its domain and other hosts', () => {
    const named = makeTask('aaaaaaaa', {
      endpoints: [{ ...endpoint, ipv6: 'fd00::7' }],
      container: {
        ...task.container,
        domainname: 'corp.example',
        dns: ['192.0.2.53'],
        dnsSearch: ['corp.example', 'example'],
        dnsOptions: ['timeout:1', 'rotate'],
        extraHosts: [
          { name: 'old', address: '192.0.2.7' },
          { name: 'node', address: 'host-gateway' },
        ],
      },
    });
    const files = containerFiles(named, { gateway: '10.1.0.1' });
    expect(files['resolv.conf']).toBe('nameserver 127.0.0.11\nsearch corp.example example\noptions timeout:1 rotate ndots:0\n');
    expect(files.hosts).toContain(
      '10.1.0.7\tshop-web-1.corp.example shop-web-1\nfd00::7\tshop-web-1.corp.example shop-web-1\n192.0.2.7\told\n10.1.0.1\tnode\n',
    );
    expect(containerFiles(named).hosts).not.toContain('node');
    const own = { ...named, container: { ...named.container, dnsOptions: ['ndots:3'] } };
    expect(containerFiles(own)['resolv.conf']).toContain('options ndots:3\n');
  });

  it('give a task without networks a name for itself', () => {
    expect(containerFiles(makeTask('aaaaaaaa')).hosts).toContain('127.0.1.1\tshop-web-1\n');
  });

  it('are overwritten in place, so that a bind mount sees the change', () =>
    withTempDir(async (dir) => {
      const mounts = await writeContainerFiles(join(dir, 't'), task);
      expect(mounts.map((m) => m.target).sort()).toEqual(['/etc/hostname', '/etc/hosts', '/etc/resolv.conf']);
      const hosts = join(dir, 't', 'hosts');
      const before = await stat(hosts);
      expect(before.mode & 0o777).toBe(0o644);
      await writeContainerFiles(join(dir, 't'), { ...task, endpoints: [] });
      expect((await stat(hosts)).ino).toBe(before.ino);
      expect(await readFile(hosts, 'utf8')).toBe(containerFiles({ ...task, endpoints: [] }).hosts);
    }));
});

describe('the files of a task in another namespace', () => {
  const host = { name: 'n1', resolvConf: 'nameserver 192.0.2.53\n', hosts: '127.0.0.1\tlocalhost\n192.0.2.9\tprinter' };

  it("are the node's in the node's own, with the node's name", () => {
    const files = containerFiles(makeTask('aaaaaaaa', { networkMode: { kind: 'host' } }), { host, links: ['192.0.2.7\tdb'] });
    expect(files).toEqual({ 'resolv.conf': host.resolvConf, hosts: `${host.hosts}\n192.0.2.7\tdb\n`, hostname: 'n1\n' });
  });

  it('are those of the task whose namespace it shares', () => {
    const owner = makeTask('bbbbbbbb', { name: 'shop-vpn-1', endpoints: [endpoint] });
    const sharer = makeTask('aaaaaaaa', { networkMode: { kind: 'service', service: 'vpn' }, shares: owner.id });
    expect(containerFiles(sharer, { owner })).toEqual(containerFiles(owner));
  });
});
