import { ServerHealth } from "../shell/health.js";

const health = new ServerHealth();
health.show();
health.check();
