/** `security_opt`: a list of `OPTION`, `OPTION:VALUE` or `OPTION=VALUE`, as Docker reads them. */
import { posix } from 'node:path';
import { messageOf } from '#base/errors.js';
import type { RuntimeKeys } from '#model/container-keys.js';
import { decodeSeccomp } from '#model/seccomp.js';
import { isNull, itemsOf, readString, reject, type Context, type Field } from './context.js';
import type { ProjectDraft, ServiceDraft } from './draft.js';
import { quote } from './issue.js';

type Security = NonNullable<RuntimeKeys['security']>;
type Option = (c: Context, field: Field, value: string, security: Security, project: ProjectDraft) => void;

const MAX_PROFILE_LENGTH = 262_144;

const OPTIONS: Readonly<Record<string, Option>> = {
  'no-new-privileges': (c, field, value, security) => {
    if (value === 'true' || value === '') security.noNewPrivileges = true;
    else if (value === 'false') delete security.noNewPrivileges;
    else reject(c, field, `expected no-new-privileges:true or no-new-privileges:false, found ${quote(value)}`);
  },
  seccomp: (c, field, value, security, project) => {
    const text = value === 'unconfined' || value === 'builtin' ? value : readProfile(c, field, value, project);
    if (text === 'builtin') delete security.seccomp;
    else if (text !== undefined) security.seccomp = text;
  },
  apparmor: (c, field, value, security) => {
    if (!/^[^\0\n\r]{1,255}$/.test(value)) reject(c, field, 'expected apparmor:PROFILE, the name of a profile that the nodes have loaded');
    // Weft sets no profile by itself.
    else if (value !== 'unconfined') security.apparmor = value;
  },
  systempaths: (c, field, value, security) => {
    if (value === 'unconfined') security.allPaths = true;
    else reject(c, field, `expected systempaths=unconfined, found ${quote(value)}`);
  },
  'writable-cgroups': (c, field, value, security) => {
    if (value === 'true' || value === 'false') security.writableCgroups = value === 'true' || undefined;
    else reject(c, field, `expected writable-cgroups=true or writable-cgroups=false, found ${quote(value)}`);
  },
  // Containers of Weft have no labels of SELinux: this turns off what is off.
  label: (c, field, value) => {
    if (value !== 'disable')
      reject(c, field, 'Weft gives containers no labels of SELinux', 'remove it, or say label:disable, which is how it is');
  },
};
const NAMES = Object.keys(OPTIONS).join(', ');

export function readSecurity(c: Context, field: Field, { container, project }: ServiceDraft): void {
  if (isNull(field.value)) return;
  const security: Security = {};
  for (const item of itemsOf(c, field) ?? []) {
    const text = readString(c, item, 'an option like no-new-privileges:true');
    if (text === undefined) continue;
    const [, name = '', value = ''] = /^([^=:]*)(?:[=:](.*))?$/s.exec(text) ?? [];
    const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
    if (option) option(c, item, value, security, project);
    else reject(c, item, `${quote(text)} is not a security option`, `Weft knows ${NAMES}`);
  }
  if (Object.values(security).some((value) => value !== undefined)) container.security = security;
}

/** The text of a profile on the user's machine, without its spaces: it travels with the stack. */
function readProfile(c: Context, field: Field, path: string, project: ProjectDraft): string | undefined {
  const whole = path.startsWith('/') ? path : posix.join(c.projectDirectory, path);
  const found = path === '' ? undefined : project.read?.(whole);
  if (!found || 'fault' in found)
    return void reject(
      c,
      field,
      found ? `the profile ${quote(path)} cannot be read: ${found.fault}` : `there is no profile ${quote(path)}`,
      'expected seccomp:FILE, seccomp:unconfined or seccomp:builtin',
    );
  try {
    decodeSeccomp(found.text);
  } catch (error) {
    return void reject(c, field, `${quote(path)} is no profile of seccomp: ${messageOf(error)}`);
  }
  const text = JSON.stringify(JSON.parse(found.text));
  return text.length <= MAX_PROFILE_LENGTH ? text : void reject(c, field, `the profile ${quote(path)} is larger than 256 KiB`);
}
