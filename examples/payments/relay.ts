// The relay, in a process of its own.
import { brief, databaseOf, endWith } from '../../src/demo/child.ts'
import { Posthaste } from '../../src/index.ts'
import { topology } from './shop.ts'

const { pool, database } = databaseOf(brief(), 4)
const posthaste = new Posthaste({ database, topology })

endWith(async () => {
  await posthaste.stop()
  await pool.end()
})
await posthaste.start({ consumers: false })
