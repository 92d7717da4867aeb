// Loads what the processes of the shop load, and leaves it compiled for them: started while the server is being made, it has ended
// when they begin.
import { flushCompileCache } from 'node:module'
import './child.ts'
import './shop.ts'

flushCompileCache()
