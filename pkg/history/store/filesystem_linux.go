package store

import (
	"slices"

	"golang.org/x/sys/unix"
)

// onNetwork tells whether a directory lies on a file system of another machine.
func onNetwork(directory string) (bool, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(directory, &stat); err != nil {
		return false, err
	}
	const smb2, cifs = 0xFE534D42, 0xFF534D42 // which package unix does not name
	return slices.Contains([]int64{unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, smb2, cifs}, int64(uint32(stat.Type))), nil
}
