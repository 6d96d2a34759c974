"""Where a photo was taken is removed, and nothing else."""

import numpy as np
from PIL import Image
from PIL.ExifTags import IFD, Base

from relatent.core.images import Photo
from relatent.core.location import has_location, without_location

PIXELS = np.zeros((8, 8, 3), np.uint8)


def exif_with_place():
    exif = Image.Exif()
    exif[Base.Model] = "a camera"
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (48.0, 8.0, 0.0)})
    return exif.tobytes()


def test_gps_tags_of_exif_go_and_others_stay():
    photo = Photo(PIXELS, "me.jpg", exif=exif_with_place())
    assert has_location(photo)
    kept = without_location(photo)
    assert not has_location(kept)
    exif = Image.Exif()
    exif.load(kept.exif)
    assert exif[Base.Model] == "a camera"
    assert not exif.get_ifd(IFD.GPSInfo)


def test_gps_properties_of_xmp_go_as_attributes_and_as_elements():
    xmp = (
        b'<rdf:Description exif:GPSLatitude="48,8N" exif:Flash="0"><exif:GPSLongitude>11,5E</exif:GPSLongitude>'
        b"<dc:title>me</dc:title></rdf:Description>"
    )
    kept = without_location(Photo(PIXELS, "me.jpg", xmp=xmp)).xmp
    assert kept == b'<rdf:Description exif:Flash="0"><dc:title>me</dc:title></rdf:Description>'


def test_a_damaged_block_is_left_out_and_a_photo_without_stays():
    assert without_location(Photo(PIXELS, "me.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).exif in (None, b"")
    plain = Photo(PIXELS, "me.jpg")
    assert without_location(plain).exif is None
    assert not has_location(plain)
