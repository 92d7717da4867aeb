import { createRequire } from 'node:module'
import type { z } from 'zod'

export type Zod = typeof z

let loaded: Zod | undefined

/**
 * zod, loaded when the first options are parsed: who imports Posthaste is not to wait for it.
 *
 * It is required, because constructors do not wait for an import. Where your own zod is an ES module, its schemas are known here
 * all the same: zod knows a schema by what it can do, and keeps one registry for all its copies.
 */
export function zod(): Zod {
  loaded ??= (createRequire(import.meta.url)('zod') as { readonly z: Zod }).z
  return loaded
}
