import { userInfo } from 'node:os'

/** Who runs the command; an account without a name has none to tell. */
export function myName(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
