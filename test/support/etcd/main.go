// etcd's server as a program of its own: its module cannot be installed by name, for it names its siblings by path.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
