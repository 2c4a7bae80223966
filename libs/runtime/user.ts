/** Who a container's process is: `user[:group]` looked up in the text of /etc/passwd and /etc/group, with runc's and Docker's rules. */
import { WeftError } from '#base/errors.js';

export interface ResolvedUser {
  uid: number;
  gid: number;
  additionalGids: number[];
}

/** Linux's largest id that is not "none". */
const MAX_ID = 2 ** 32 - 2;

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/**
 * A number need not exist in the files; a name must. Without a group: the user's own, and the groups that list the user as a member.
 * With a group: only that one. @throws BAD_VALUE
 */
export function resolveUser(text: string | undefined, passwd: string, group: string): ResolvedUser {
  const [userText = '', groupText, ...more] = (text ?? '').split(':');
  if (more.length > 0) throw unknown('user', text ?? '', 'it is written user or user:group');
  const groups = parseGroup(group);
  const wanted = userText === '' ? '0' : userText;
  const users = parsePasswd(passwd);
  const user = users.find((u) => u.name === wanted) ?? users.find((u) => String(u.uid) === wanted);
  const uid = user?.uid ?? idOf(wanted, 'user', "the image's /etc/passwd does not list it");
  if (groupText) {
    const found = groups.find((g) => g.name === groupText)?.gid ?? idOf(groupText, 'group', "the image's /etc/group does not list it");
    return { uid, gid: found, additionalGids: [] };
  }
  const gid = user?.gid ?? 0;
  const additionalGids = user ? groups.filter((g) => g.members.includes(user.name)).map((g) => g.gid) : [];
  return { uid, gid, additionalGids: [...new Set(additionalGids)].filter((g) => g !== gid).sort((a, b) => a - b) };
}

/** Numbers of further groups (`group_add`): names must be in the file. @throws BAD_VALUE */
export function resolveGroups(names: readonly string[] = [], group: string): number[] {
  const groups = names.length === 0 ? [] : parseGroup(group);
  return names.map((name) => groups.find((g) => g.name === name)?.gid ?? idOf(name, 'group', "the image's /etc/group does not list it"));
}

/** The user, in these groups too. */
export const withGroups = (user: ResolvedUser, groups: readonly number[]): ResolvedUser => ({
  ...user,
  additionalGids: [...new Set([...user.additionalGids, ...groups])],
});

function idOf(text: string, kind: 'user' | 'group', why: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) > MAX_ID) throw unknown(kind, text, why);
  return Number(text);
}

function unknown(kind: string, text: string, why: string): WeftError {
  return new WeftError('BAD_VALUE', {
    what: `no ${kind} ${JSON.stringify(text.slice(0, 64))} in the container`,
    why,
    hint: 'Name one that the image has, or give numbers, like 1000:1000.',
  });
}

/** passwd(5); lines that are malformed are passed over. */
function parsePasswd(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid = '', gid = ''] = line.trim().split(':');
    return name !== '' && isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid) }] : [];
  });
}

/** group(5). */
function parseGroup(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , gid = '', members = ''] = line.trim().split(':');
    return name !== '' && isId(gid) ? [{ name, gid: Number(gid), members: members.split(',').filter(Boolean) }] : [];
  });
}

const isId = (text: string): boolean => /^\d{1,10}$/.test(text) && Number(text) <= MAX_ID;
