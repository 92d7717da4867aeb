import { readFileSync } from 'node:fs'

/** Who runs the server. `uid` and `gid` are absent when it is simply who we are. */
export interface Account {
  readonly name: string
  readonly uid?: number
  readonly gid?: number
}

/** PostgreSQL refuses to run as root: then it is `postgres` where there is one, else `nobody`; no account is ever created. */
export function serverAccount(): Account {
  if (process.getuid?.() !== 0) return { name: process.env.USER ?? 'you' }
  return named('postgres') ?? named('nobody') ?? { name: 'nobody', uid: 65534, gid: 65534 }
}

/** A directory that somebody else's server has made before stays theirs. */
export function accountOf(owner: { uid: number; gid: number }): Account {
  return { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid }
}

/** The part of an account that `child_process` understands. */
export function identity({ uid, gid }: Account): { uid?: number; gid?: number } {
  return { ...(uid !== undefined && { uid }), ...(gid !== undefined && { gid }) }
}

function named(name: string): Account | undefined {
  const line = passwd().find((entry) => entry[0] === name)
  return line ? { name, uid: Number(line[2]), gid: Number(line[3]) } : undefined
}

function passwd(): string[][] {
  try {
    return readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
  } catch {
    return []
  }
}
