import { ComposeErrors } from './issue.js';
import { parseCompose } from './parse-compose.js';

const parse = (lines: string[]) =>
  parseCompose({
    text: ['services:', '  web:', '    image: busybox', ...lines.map((line) => `    ${line}`), ''].join('\n'),
    file: 'stack.yaml',
    env: {},
    projectDirectory: '/srv/shop',
  }).stack.services['web'];

function faultsOf(...lines: string[]): string[] {
  try {
    parse(lines);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map((i) => `${i.line}:${i.column}: ${i.path}: ${i.message}`);
    throw error;
  }
  return [];
}

describe('names, resolvers and balancing of a service', () => {
  it('are taken over', () => {
    const web = parse([
      'dns: [192.0.2.53, "2001:DB8::0:53"]',
      'dns_search: [corp.example, .]',
      'dns_opt: [ndots:2, rotate]',
      'domainname: shop.example',
      'extra_hosts: ["db.old:192.0.2.7", "me=host-gateway", "six:[2001:db8::1]"]',
      'expose: [3000, "53/udp", "8000-8001"]',
      'ports: [{ name: http, target: 80, published: 8080 }]',
      'deploy: { endpoint_mode: dnsrr, labels: { weft.affinity: client, weft.drain: 1s500ms, weft.dns-ttl: 30s, team: a } }',
    ]);
    expect(web?.container).toMatchObject({
      dns: ['192.0.2.53', '2001:db8::53'],
      dnsSearch: ['corp.example'],
      dnsOptions: ['ndots:2', 'rotate'],
      domainname: 'shop.example',
      extraHosts: [
        { name: 'db.old', address: '192.0.2.7' },
        { name: 'me', address: 'host-gateway' },
        { name: 'six', address: '2001:db8::1' },
      ],
    });
    expect(web).toMatchObject({
      endpointMode: 'dnsrr',
      affinity: 'client',
      drainMs: 1500,
      dnsTtlSeconds: 30,
      labels: { team: 'a' },
      ports: [{ name: 'http', target: 80, published: 8080 }],
      expose: [
        { port: 3000, protocol: 'tcp' },
        { port: 53, protocol: 'udp' },
        { port: 8000, protocol: 'tcp' },
        { port: 8001, protocol: 'tcp' },
      ],
    });
  });

  it('are left out where the file does not speak of them', () => {
    const web = parse([]);
    for (const key of ['endpointMode', 'affinity', 'drainMs', 'expose', 'labels']) expect(web).not.toHaveProperty(key);
    for (const key of ['dns', 'dnsSearch', 'dnsOptions', 'domainname', 'extraHosts']) expect(web?.container).not.toHaveProperty(key);
  });

  it.each([
    ['dns: [example.org]', '4:11: services.web.dns[0]: expected an IP address, found "example.org"'],
    ['dns: 127.0.0.1', '4:10: services.web.dns[0]: 127.0.0.1 is a loopback address'],
    ['dns: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4]', '4:10: services.web.dns: at most 3 resolvers are ever asked, found 4'],
    ['dns_search: ["a b"]', '4:18: services.web.dns_search[0]: expected a domain like "example.org", found "a b"'],
    ['dns_opt: ["ndots:1\\noptions x"]', '4:15: services.web.dns_opt[0]: expected an option like "ndots:1"'],
    ['domainname: "a\\nb"', '4:17: services.web.domainname: expected a domain like "example.org"'],
    ['extra_hosts: ["x:nowhere"]', 'services.web.extra_hosts.x[0]: expected an IP address or "host-gateway", found "nowhere"'],
    ['extra_hosts: { "a b": 192.0.2.1 }', 'expected a host name, found "a b"'],
    ['expose: [70000]', '4:14: services.web.expose[0]: expected a port or a range'],
    ['expose: ["80/icmp"]', '4:14: services.web.expose[0]: expected a port or a range'],
    ['ports: [{ name: "-", target: 80, published: 80 }]', '4:21: services.web.ports[0].name: expected a name like "http"'],
    ['deploy: { endpoint_mode: ipvs }', '4:30: services.web.deploy.endpoint_mode: '],
    [
      'deploy: { labels: { weft.affinity: cookie } }',
      'services.web.deploy.labels."weft.affinity": the label weft.affinity is "client" or "none"',
    ],
    ['deploy: { labels: { weft.drain: soon } }', 'the label weft.drain is a time like "1s"'],
    ['deploy: { labels: { weft.dns-ttl: 10ms } }', 'the label weft.dns-ttl is a time in whole seconds'],
    ['deploy: { labels: { weft.afinity: client } }', '"weft.afinity" is no label that Weft knows'],
  ])('refuses %s', (line, message) => {
    expect(faultsOf(line).join('\n')).toContain(message);
  });
});
